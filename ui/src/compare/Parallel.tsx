// Each run as a line over several columns; a range dragged on an axis keeps the runs that are in it.
import { useMemo, useRef, useState } from "preact/hooks";
import { dark } from "../parts/theme";
import { cell, many } from "../parts/words";
import type { Brush } from "../state/address";
import { change, view } from "../state/view";
import { useAllRuns } from "./all";
import { type Axis, axisOf, brushOf, marksOf, placesOf, within } from "./axis";
import { useSize } from "../parts/size";
import { colour, useCanvas } from "./canvas";
import { Legend } from "./Legend";
import { ValuesOf } from "./ValuesOf";
import { coloursOf } from "./colours";
import { Pick, plain } from "./Pick";
import { cut, told } from "./Scatter";
import { GAP, SLOT, type Shape, TOP, nearest, path, roomOf, shapeOf, strokes } from "./shape";
import { useSlices } from "./slices";

const MOST_DRAWN = 200;

interface Strip {
  axis: Axis;
  shape: Shape;
  left: number;
  brush: Brush | undefined;
  onBrush: (brush: Brush | undefined, done: boolean) => void;
}

/** The part of an axis that one drags on. */
function Strip({ axis, shape, left, brush, onBrush }: Strip) {
  const from = useRef<number | null>(null);
  const places = brush === undefined ? null : placesOf(axis, brush);
  const place = (y: number) => (shape.end - y) / (shape.end - TOP);
  const move = (event: PointerEvent, done: boolean) => {
    const node = event.currentTarget as HTMLElement;
    if (from.current === null) return;
    const y = event.clientY - node.getBoundingClientRect().top;
    const began = from.current;
    if (done) from.current = null;
    if (Math.abs(y - began) < 4) return done ? onBrush(undefined, true) : undefined;
    // Below the axis are those without a place on it.
    const low = shape.end + GAP / 2;
    const next = began > low && y > low ? null : brushOf(axis, place(began), place(Math.min(y, shape.end)));
    onBrush(next, done);
  };
  return (
    <div
      class="strip"
      style={{ left: `${left - 14}px` }}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        from.current = event.clientY - event.currentTarget.getBoundingClientRect().top;
      }}
      onPointerMove={(event) => move(event, false)}
      onPointerUp={(event) => move(event, true)}
      data-axis={axis.name}
    >
      {places && <i class="brush" style={{ top: `${shape.end - places[1] * (shape.end - TOP)}px`, height: `${Math.max(3, (places[1] - places[0]) * (shape.end - TOP))}px` }} />}
      {brush === null && <i class="brush" style={{ top: `${shape.end + GAP / 2}px`, height: `${GAP / 2 + SLOT * shape.whys.length}px` }} />}
    </div>
  );
}

function brushText(axis: Axis, brush: Brush): string {
  if (brush === null) return "without a place";
  return brush[0] === brush[1] ? String(brush[0]) : `${cell(brush[0], axis.name)} to ${cell(brush[1], axis.name)}`;
}

function others(brushes: Record<string, Brush>, name: string): Record<string, Brush> {
  return Object.fromEntries(Object.entries(brushes).filter(([one]) => one !== name));
}

export function Parallel() {
  const { axes: names, axesTurned, brushes, dotColour } = view.value;
  const place = useRef<HTMLDivElement>(null);
  const size = useSize(place);
  const [dragged, setDragged] = useState<{ name: string; brush: Brush | undefined } | null>(null);
  const [hover, setHover] = useState<{ row: number; x: number; y: number } | null>(null);
  const wanted = [...new Set([...names, dotColour].filter(Boolean))];
  const found = useAllRuns(wanted);
  const column = (name: string) => found.rows.map((row) => row.values[found.columns.indexOf(name)]);
  const axes = useMemo(
    () =>
      names
        .filter((name) => found.columns.includes(name))
        .map((name) => {
          const values = column(name);
          const natural = axisOf(name, values, null);
          return axesTurned.includes(name) ? axisOf(name, values, !natural.log) : natural;
        }),
    [found.rows, found.columns, names, axesTurned],
  );
  const colours = useMemo(() => coloursOf(found.rows, dotColour && found.columns.includes(dotColour) ? column(dotColour) : null, dotColour), [found.rows, found.columns, dotColour, dark.value]);
  const shape = useMemo(() => shapeOf(axes, size.width, size.height), [axes, size.width, size.height]);
  const brushOn = (name: string): Brush | undefined => (dragged?.name === name ? dragged.brush : brushes[name]);
  const kept = useMemo(() => {
    const tests = axes.flatMap((axis) => {
      const brush = brushOn(axis.name);
      return brush === undefined ? [] : [within(axis, brush)];
    });
    return found.rows.map((_, row) => row).filter((row) => tests.every((test) => test(row)));
  }, [axes, found.rows, brushes, dragged]);
  const all = useMemo(() => found.rows.map((_, row) => row), [found.rows]);
  const back = useSlices(
    size,
    function* (context) {
      const grid = colour("--grid");
      context.lineWidth = 1;
      if (axes.length > 1) yield* strokes(context, shape, all, () => grid);
    },
    [shape, dark.value],
  );
  const front = useSlices(
    size,
    function* (context) {
      context.lineWidth = 1.2;
      context.globalAlpha = kept.length > 300 ? 0.45 : 0.8;
      if (axes.length > 1) yield* strokes(context, shape, kept, (row) => colours.of[row] ?? "");
    },
    [shape, kept, colours, dark.value],
  );
  const near = useCanvas(
    size,
    (context) => {
      context.lineWidth = 3;
      if (!hover) return;
      context.strokeStyle = colours.of[hover.row] ?? "";
      path(context, shape, [hover.row]);
    },
    [shape, colours, hover?.row, dark.value],
  );
  // The marks stand above the lines.
  const over = useCanvas(
    size,
    (context) => {
      context.lineWidth = 1;
      context.strokeStyle = context.fillStyle = colour("--quiet");
      context.font = "11px system-ui, sans-serif";
      context.textBaseline = "middle";
      context.beginPath();
      for (const x of shape.x) {
        context.moveTo(x, TOP);
        context.lineTo(x, shape.end);
      }
      context.stroke();
      context.textAlign = "left";
      if (axes.length) shape.whys.forEach((why, slot) => context.fillText(why, 4, shape.end + GAP + SLOT * (slot + 0.5)));
      axes.forEach((axis, at) => {
        const last = at === axes.length - 1 && axes.length > 1;
        context.textAlign = last ? "right" : "left";
        for (const mark of marksOf(axis, Math.max(2, (shape.end - TOP) / 46))) {
          const [x, y] = [(shape.x[at] ?? 0) + (last ? -7 : 7), shape.end - mark.place * (shape.end - TOP)];
          context.lineWidth = 4;
          context.strokeStyle = colour("--ground");
          context.strokeText(cut(mark.text, 16), x, y);
          context.fillStyle = colour("--text");
          context.fillText(cut(mark.text, 16), x, y);
        }
      });
    },
    [shape, dark.value],
  );
  const onBrush = (name: string, brush: Brush | undefined, done: boolean) => {
    if (!done) return setDragged({ name, brush });
    setDragged(null);
    const rest = others(brushes, name);
    change({ brushes: brush === undefined ? rest : { ...rest, [name]: brush } });
  };
  const without = (name: string) => {
    change({ axes: names.filter((one) => one !== name), brushes: others(brushes, name) });
  };
  const shift = (name: string, by: number) => {
    const at = names.indexOf(name);
    const next = [...names];
    [next[at], next[at + by]] = [next[at + by] as string, name];
    change({ axes: next });
  };
  const row = hover && found.rows[hover.row];
  const ids = kept.map((one) => found.rows[one]?.run ?? "");
  const brushed = axes.filter((axis) => brushOn(axis.name) !== undefined);
  const said = `${told(found, kept.length, axes)}${brushed.length ? `; kept: ${brushed.map((axis) => `${plain(axis.name)} ${brushText(axis, brushOn(axis.name) ?? null)}`).join(", ")}` : ""}`;
  return (
    <div class="many">
      <div class="toolbar" role="toolbar" aria-label="Parallel coordinates">
        <Pick label="another axis" value="" onPick={(name) => name && !names.includes(name) && change({ axes: [...names, name] })} empty="a column" />
        <Pick label="colour" value={dotColour} onPick={(name) => change({ dotColour: name })} empty="run" />
        {Object.keys(brushes).length > 0 && <button onClick={() => change({ brushes: {} })}>all ranges away</button>}
        {axes.length > 0 && kept.length > 0 && (
          <button
            disabled={ids.length > MOST_DRAWN}
            title={ids.length > MOST_DRAWN ? `At most ${MOST_DRAWN} runs stand in an address: keep fewer` : "Draw these runs in the charts"}
            onClick={() => change({ shown: { base: "none", top: 10, plus: ids, minus: [] }, plot: "" })}
          >
            draw {many(ids.length, "run")}
          </button>
        )}
      </div>
      <p class="told" role="status">
        {found.wrong ? <span class="warn">{found.wrong}</span> : names.length < 2 ? "Choose two axes or more: of the configuration, the summary or metrics." : found.total === null ? "Loading…" : said}
      </p>
      <div class="axesroom" tabIndex={0} role="group" aria-label="Axes" style={{ "--axes": String(axes.length) }}>
      <div class="axes">
        {axes.map((axis, at) => (
          <span key={axis.name} style={{ left: `${shape.x[at] ?? 0}px` }} title={plain(axis.name)}>
            <b style={{ maxWidth: `${roomOf(shape, at)}px` }}>{plain(axis.name)}</b>
            <span>
              {at > 0 && (
                <button class="tool" aria-label={`${plain(axis.name)} to the left`} onClick={() => shift(axis.name, -1)}>
                  ◂
                </button>
              )}
              {axis.kind === "number" && axis.name !== "started" && (
                <button
                  class="tool"
                  aria-pressed={axis.log}
                  aria-label={`Logarithmic: ${plain(axis.name)}`}
                  onClick={() => change({ axesTurned: axesTurned.includes(axis.name) ? axesTurned.filter((one) => one !== axis.name) : [...axesTurned, axis.name] })}
                >
                  {axis.log ? "log" : "lin"}
                </button>
              )}
              <button class="tool" aria-label={`Remove the axis ${plain(axis.name)}`} onClick={() => without(axis.name)}>
                ✕
              </button>
              {at < axes.length - 1 && (
                <button class="tool" aria-label={`${plain(axis.name)} to the right`} onClick={() => shift(axis.name, 1)}>
                  ▸
                </button>
              )}
            </span>
          </span>
        ))}
      </div>
      <div
        class="picture"
        ref={place}
        onPointerMove={(event) => {
          const box = event.currentTarget.getBoundingClientRect();
          const [x, y] = [event.clientX - box.left, event.clientY - box.top];
          const next = dragged || axes.length < 2 ? -1 : nearest(shape, kept, x, y);
          setHover(next < 0 ? null : { row: next, x, y });
        }}
        onPointerLeave={() => setHover(null)}
        onClick={(event) => row && !(event.target as HTMLElement).closest(".strip") && change({ open: row.run })}
        style={{ cursor: row ? "pointer" : "" }}
      >
        <canvas ref={back} aria-hidden="true" />
        <canvas ref={front} role="img" aria-label={`Parallel coordinates: ${said}`} />
        <canvas ref={near} aria-hidden="true" />
        <canvas ref={over} aria-hidden="true" />
        {axes.map((axis, at) => (
          <Strip key={axis.name} axis={axis} shape={shape} left={shape.x[at] ?? 0} brush={brushOn(axis.name)} onBrush={(brush, done) => onBrush(axis.name, brush, done)} />
        ))}
        {hover && row && (
          <div class="tip" style={{ top: `${Math.max(4, Math.min(hover.y - 30, size.height - 30 - 20 * wanted.length))}px`, ...(hover.x > size.width / 2 ? { right: `${size.width - hover.x + 18}px` } : { left: `${hover.x + 18}px` }) }}>
            <ValuesOf row={row} names={wanted} columns={found.columns} />
          </div>
        )}
      </div>
      </div>
      <Legend colours={colours} name={dotColour} />
    </div>
  );
}
