// A chart in a card: keeps one plot, redraws it when its data or the view change, shows the values at the cursor.
import { signal } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { type Reading, byValue, reading } from "../chart/cursor";
import { type Drawn, drawn } from "../chart/lines";
import { inWords, totals } from "../chart/marks";
import { Plot, type PlotData } from "../chart/plot";
import { ranges } from "../chart/ranges";
import { dark } from "../parts/theme";
import { amount, moment, number, seconds, short } from "../parts/words";
import { resetZoom, view, zoomTo } from "../state/view";
import type { Card } from "../wire/types";
import { lookOf, looks } from "./look";

/** Where the cursor is, for all cards that have the same x. */
export const cursor = signal<{ x: number; id: string; left: number; top: number } | null>(null);

interface Row {
  reading: Reading;
  label: string;
  colour: string;
}

export function readings(all: Drawn[], x: number, card: Card): Row[] {
  const found: Row[] = [];
  for (const one of all) {
    const got = reading(one.series, x, card.bin ?? 1, card.monotonic !== false);
    if (got) found.push({ reading: got, label: one.look.label, colour: one.look.colour });
  }
  return byValue(found);
}

export function xInWords(x: number): string {
  const axis = view.value.x;
  if (axis === "time") return moment(new Date(x * 1000));
  return axis === "relative" ? seconds(x) : axis === "step" ? `step ${number(Math.round(x))}` : `${axis.key} ${number(x)}`;
}

function Values({ rows, x, most }: { rows: Row[]; x: number; most: number }) {
  return (
    <>
      <div class="when">{xInWords(x)}</div>
      {rows.slice(0, most).map((row, at) => (
        <div class="value" key={at}>
          <i style={{ background: row.colour }} />
          <span class="of">{row.label}</span>
          <b>{number(row.reading.smooth ?? row.reading.value)}</b>
          {row.reading.smooth !== null && <span class="range">raw {number(row.reading.value)}</span>}
          {row.reading.n !== null && row.reading.n > 1 && row.reading.min !== null && (
            <span class="range">
              {number(row.reading.min)} … {number(row.reading.max ?? NaN)}, n {short(row.reading.n)}
            </span>
          )}
        </div>
      ))}
      {rows.length > most && <div class="range">and {rows.length - most} more</div>}
    </>
  );
}

/** So many pixels a line of values needs with its range. */
const WIDE = 300;

/** Beside the cursor, where there is room on the screen. */
function place(host: HTMLElement, left: number, width: number): { style: Record<string, string>; narrow: boolean } {
  const chart = host.getBoundingClientRect();
  const pane = (host.closest("dialog, .cards") ?? document.documentElement).getBoundingClientRect();
  const before = chart.left + left + 44 - pane.left - 6;
  const after = pane.right - chart.left - left - 76 - 6;
  const [wanted, other] = left > width / 2 ? [before, after] : [after, before];
  const turned = wanted < WIDE && other > wanted;
  const room = turned ? other : wanted;
  const side = left > width / 2 !== turned ? { right: `${width - left - 44}px` } : { left: `${left + 76}px` };
  return { style: { ...side, maxWidth: `${Math.max(room, 120)}px` }, narrow: room < WIDE };
}

function Tip({ id, all, card, width, host }: { id: string; all: Drawn[]; card: Card; width: number; host: { current: HTMLElement | null } }) {
  const at = cursor.value;
  if (!at || at.id !== id || !host.current) return null;
  const rows = readings(all, at.x, card);
  if (rows.length === 0) return null;
  const { style, narrow } = place(host.current, at.left, width);
  return (
    <div class={narrow ? "tip narrow" : "tip"} style={style}>
      <Values rows={rows} x={at.x} most={12} />
    </div>
  );
}

interface Props {
  id: string;
  name: string;
  card: Card;
  width: number;
  height: number;
  onPlot?: (plot: Plot, all: Drawn[]) => void;
}

export function Chart({ id, name, card, width, height, onPlot }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | null>(null);
  const { spread, zoom, zoomY, fixedY, robust, logY, x, group, baseline, colourBy } = view.value;
  const logX = view.value.logX && x !== "time";
  const isDark = dark.value;
  const all = useMemo(() => drawn(card, lookOf, spread), [card, spread, isDark, baseline, colourBy, group, looks.value]);
  const found = useMemo(
    () => ranges(all, name, { zoom, zoomY, fixedY, robust, logX, logY }),
    [all, name, zoom, zoomY, fixedY, robust, logX, logY],
  );
  const data: PlotData = { drawn: all, x: found.x, y: found.y, logX, logY, time: x === "time", whole: x === "step" };
  useLayoutEffect(() => {
    const node = host.current;
    if (!node) return;
    if (plot.current && !plot.current.fits(data)) {
      plot.current.destroy();
      plot.current = null;
    }
    if (plot.current) plot.current.set(data, width, height);
    else
      plot.current = new Plot(node, width, height, data, {
        zoom: (zoomedX, zoomedY) => zoomTo(zoomedX ?? undefined, zoomedY ? { key: name, span: zoomedY } : undefined),
        reset: resetZoom,
        cursor: (at) => {
          if (at) cursor.value = { ...at, id };
          else if (cursor.peek()?.id === id) cursor.value = null;
        },
      });
    onPlot?.(plot.current, all);
    // What else the view says does not change the picture.
  }, [all, found, logX, logY, x, width, height, name]);
  useEffect(
    () =>
      cursor.subscribe((at) => {
        if (at?.id !== id) plot.current?.point(at?.x ?? null);
      }),
    [id],
  );
  useEffect(
    () => () => {
      if (cursor.peek()?.id === id) cursor.value = null;
      plot.current?.destroy();
      plot.current = null;
    },
    [id],
  );
  return (
    <div class="chart" style={{ height: `${height}px` }}>
      <div ref={host} />
      <Tip id={id} all={all} card={card} width={width} host={host} />
      <Notes card={card} all={all} found={found} />
    </div>
  );
}

/** What the chart does not show, in words. */
function Notes({ card, all, found }: { card: Card; all: Drawn[]; found: ReturnType<typeof ranges> }) {
  const said: string[] = [];
  const [low, high] = found.x;
  const bad = inWords(totals(all.flatMap((one) => one.marks).filter((mark) => mark.x >= low && mark.x <= high)));
  if (bad) said.push(bad);
  // Of a bin only the four points that are drawn are counted.
  const least = all.some((one) => one.series.kind === "bins") ? "at least " : "";
  if (found.above) said.push(`↑ ${least}${short(found.above)} above`);
  if (found.below) said.push(`↓ ${least}${short(found.below)} below`);
  if (found.nonPositive) said.push(`${least}${short(found.nonPositive)} ≤ 0 not on a log axis`);
  if (found.nonPositiveX) said.push(`${short(found.nonPositiveX)} at x ≤ 0 not on a log axis`);
  if (card.monotonic === false) said.push("x is not monotonic");
  if (card.coarse) said.push(`full resolution is not in this file${card.bin && card.bin !== 1 ? `: bins of ${amount(card.bin, view.value.x)}` : ""}`);
  const out = card.left_out;
  if (out?.why) said.push(out.why); // runs that cannot be read are named at the card's foot
  if (said.length === 0) return null;
  return (
    <div class="notes" title={said.join(" · ")}>
      {said.join(" · ")}
    </div>
  );
}

/** "2 lines of 2.0 M points, bins of 16 steps". */
export function standsFor(card: Card): string {
  const lines = card.lines ?? card.series.length;
  const points = card.points ?? card.series.reduce((sum, one) => sum + one.points, 0);
  const binned = card.series.some((one) => one.kind !== "points");
  const bin = binned && card.bin && card.bin !== 1 ? `, bins of ${amount(card.bin, view.value.x)}` : "";
  return `${short(lines)} ${lines === 1 ? "line" : "lines"}, ${short(points)} points${bin}`;
}
