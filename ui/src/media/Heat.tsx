// Histograms over steps as heat maps, a tile for each run, all with the same bins and the same colours.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { colourOf, nameOf } from "../cards/look";
import { useSize } from "../parts/size";
import { dark } from "../parts/theme";
import { count, many, messageOf, number } from "../parts/words";
import { view } from "../state/view";
import { type HeatCard, type HeatSeries, heat } from "./grids";
import { runs } from "./data";
import { columnAt, ramp, shares } from "./heatmap";
import { Broken } from "./parts";
import type { MediaCard } from "./types";

const [LEFT, BOTTOM, RIGHT, TOP] = [52, 18, 6, 4];

interface Span {
  low: number;
  high: number;
}

function paint(canvas: HTMLCanvasElement, size: [number, number], one: HeatSeries, parts: Float64Array, edges: number[], most: number, span: Span, marker: number | null): void {
  const ratio = Math.max(1, devicePixelRatio);
  [canvas.width, canvas.height] = [Math.round(size[0] * ratio), Math.round(size[1] * ratio)];
  const context = canvas.getContext("2d");
  if (!context) return;
  const [width, height] = [Math.max(1, Math.round((size[0] - LEFT - RIGHT) * ratio)), Math.max(1, Math.round((size[1] - TOP - BOTTOM) * ratio))];
  const bins = edges.length - 1;
  const [low, high] = [edges[0] as number, edges[bins] as number];
  const colours = ramp(dark.value);
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  // By pixels: several bins or columns in one show the strongest of them, so that none vanishes.
  const rowOf = (value: number) => Math.round((1 - (value / 2 - low / 2) / (high / 2 - low / 2)) * height);
  const xOf = (step: number) => (span.high > span.low ? ((step - span.low) / (span.high - span.low)) * width : 0);
  const level = new Uint8Array(width * height);
  for (let column = 0; column < one.first.length; column++) {
    const left = Math.max(0, Math.floor(xOf(one.first[column] as number)));
    const next = column + 1 < one.first.length ? xOf(one.first[column + 1] as number) : xOf((one.last[column] as number) + (span.high - span.low) / Math.max(1, one.first.length));
    const right = Math.min(width, Math.max(left + 1, Math.floor(next)));
    for (let bin = 0; bin < bins; bin++) {
      const part = parts[column * bins + bin] as number;
      if (part === 0) continue;
      const colour = Math.max(12, Math.round(255 * Math.sqrt(part / most)));
      const top = Math.max(0, Math.min(height - 1, rowOf(edges[bin + 1] as number)));
      const bottom = Math.min(height, Math.max(top + 1, rowOf(edges[bin] as number)));
      for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) if (level[y * width + x] as number < colour) level[y * width + x] = colour;
    }
  }
  for (let at = 0; at < level.length; at++) pixels[at] = colours[level[at] as number] as number;
  context.putImageData(image, LEFT * ratio, TOP * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const style = getComputedStyle(document.documentElement);
  context.fillStyle = style.getPropertyValue("--quiet");
  context.font = "11px system-ui, sans-serif";
  context.textAlign = "right";
  const inside = size[1] - TOP - BOTTOM;
  for (const [part, baseline] of [[0, "bottom"], [0.5, "middle"], [1, "top"]] as const) {
    context.textBaseline = baseline;
    context.fillText(number(low + (high / 2 - low / 2) * 2 * part, 3), LEFT - 5, TOP + inside * (1 - part));
  }
  context.textBaseline = "top";
  context.textAlign = "left";
  context.fillText(count(span.low), LEFT, size[1] - BOTTOM + 4);
  context.textAlign = "right";
  context.fillText(count(span.high), size[0] - RIGHT, size[1] - BOTTOM + 4);
  if (marker !== null && marker >= span.low && marker <= span.high) {
    context.strokeStyle = style.getPropertyValue("--accent");
    context.setLineDash([3, 3]);
    const x = LEFT + (xOf(marker) / width) * (size[0] - LEFT - RIGHT);
    context.strokeRect(x, TOP, 0, inside);
  }
}

function Map({ one, card, most, span, marker, several }: { one: HeatSeries; card: HeatCard; most: number; span: Span; marker: number | null; several: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const [words, setWords] = useState("");
  const bins = card.edges.length - 1;
  const counts = one.columns["count"];
  const parts = useMemo(() => shares(counts ?? [], bins), [counts, bins]);
  const { width, height } = useSize(box);
  useLayoutEffect(() => {
    if (canvas.current && width > LEFT + RIGHT + 10 && height > 40) paint(canvas.current, [width, height], one, parts, card.edges, most, span, marker);
  }, [width, height, one, parts, card, most, span.low, span.high, marker, dark.value]);
  const tell = (column: number, bin: number) => {
    const [first, last] = [one.first[column], one.last[column]];
    if (first === undefined || last === undefined || bin < 0 || bin >= bins) return setWords("");
    const value = counts?.[column * bins + bin] ?? 0;
    const range = `${number(card.edges[bin] as number)} … ${number(card.edges[bin + 1] as number)}`;
    setWords(`step ${count(first)}${last === first ? "" : ` to ${count(last)}`}: ${card.as_logged ? count(value) : `about ${number(value)}`} (${number(100 * (parts[column * bins + bin] ?? 0), 3)} %) in ${range}`);
  };
  const hover = (event: MouseEvent) => {
    const edge = box.current?.getBoundingClientRect();
    if (!edge) return;
    const x = (event.clientX - edge.left - LEFT) / (width - LEFT - RIGHT);
    const y = 1 - (event.clientY - edge.top - TOP) / (height - TOP - BOTTOM);
    if (x < 0 || x > 1 || y < 0 || y > 1) return setWords("");
    const value = (card.edges[0] as number) * (1 - y) + (card.edges[bins] as number) * y;
    tell(columnAt(one, span.low + x * (span.high - span.low)), Math.min(bins - 1, card.edges.findLastIndex((at) => at <= value)));
  };
  const last = one.last.at(-1) ?? 0;
  return (
    <figure class="tile wide heat" data-run={one.run}>
      <figcaption>
        <i style={{ background: colourOf(one.run) }} />
        <span title={one.run}>
          {nameOf(one.run)}
          {several && ` · ${one.key}`}
        </span>
      </figcaption>
      {one.first.length === 0 ? (
        <Broken>None of its histograms can be read.</Broken>
      ) : (
        <div class="content" ref={box} onMouseMove={hover} onMouseLeave={() => setWords("")}>
          <canvas ref={canvas} role="img" aria-label={`Heat map of ${one.key} in ${nameOf(one.run)}, steps ${String(one.first[0])} to ${String(last)}, values ${number(card.edges[0] as number)} to ${number(card.edges[bins] as number)}`} />
        </div>
      )}
      <p class="caption">
        {words || (
          <>
            {many(one.points, "histogram")}
            {one.merged > 1 && `, ${count(one.merged)} to a column`}
            {one.outside > 0 && `, ${count(one.outside)} NaN or infinite values are in no bin`}
            {one.damaged > 0 && <span class="warn">, {count(one.damaged)} cannot be read</span>}
          </>
        )}
      </p>
    </figure>
  );
}

interface Props {
  name: string;
  /** What is known of the card: another object after news. */
  index: MediaCard;
  step: number | null;
  width: number;
  height: number;
}

export function Heat({ name, index, step, width, height }: Props) {
  const [card, setCard] = useState<HeatCard | null>(null);
  const [wrong, setWrong] = useState("");
  const ids = runs();
  const { zoom, x, mediaStep } = view.value;
  const range = x === "step" ? zoom : null;
  // The slider asks the index anew, but what is drawn depends on the steps alone.
  const depends = JSON.stringify([ids, range, index.steps.length, index.steps.at(-1), Math.round(width / 100), Math.round(height / 100)]);
  useEffect(() => {
    const abort = new AbortController();
    heat({ runs: ids, key: name, width: Math.max(50, Math.min(1000, Math.round(width))), bins: Math.max(16, Math.min(128, Math.round(height / 4))), from: range?.[0] ?? null, to: range?.[1] ?? null }, abort.signal).then(
      (found) => {
        setCard(found);
        setWrong("");
      },
      (problem: unknown) => {
        if (!abort.signal.aborted) setWrong(messageOf(problem));
      },
    );
    return () => abort.abort();
  }, [depends, name]);
  const most = useMemo(() => {
    const bins = (card?.edges.length ?? 2) - 1;
    return Math.max(1e-12, ...(card?.series ?? []).map((one) => shares(one.columns["count"] ?? [], bins).reduce((a, b) => Math.max(a, b), 0)));
  }, [card]);
  if (wrong) return <Broken>{wrong}</Broken>;
  if (!card) return <div class="tiles" />;
  const [low, high] = range ?? [Math.min(...card.series.flatMap((one) => one.first.slice(0, 1))), Math.max(...card.series.map((one) => one.last.at(-1) ?? 0))];
  const bins = card.edges.length - 1;
  return (
    <div class="heats">
      <p class="stands">
        {card.as_logged
          ? `${many(bins, "bin")} as they were logged.`
          : `Logged bins differ: they are shared out to ${count(bins)} equal ones, by how much of each lies in them.`}{" "}
        Colour: the part of a column's values, up to {number(100 * most, 3)} %.
      </p>
      <div class="tiles" tabIndex={0} role="group" aria-label={`Histograms of ${name}`}>
        {card.series.map((one) => (
          <Map key={`${one.run} ${one.key}`} one={one} card={card} most={most} span={{ low, high }} marker={mediaStep === null ? null : step} several={new Set(card.series.map((other) => other.key)).size > 1} />
        ))}
      </div>
    </div>
  );
}
