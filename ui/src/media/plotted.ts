// Draws a figure on a canvas: axes, lines, markers, bars, heat maps.
import { nth } from "../chart/palette";
import { padded } from "../chart/scale";
import { digits, ticks } from "../chart/ticks";
import { number, times } from "../parts/words";
import { ramp } from "./heatmap";
import { type Axis, type Bar, type Figure, type Trace, barsOf } from "./plotly";

export interface Drawing {
  /** To pixels of the screen. */
  x(value: number): number;
  y(value: number): number;
  edges: { left: number; top: number; right: number; bottom: number };
}

type Span = [number, number];

function extentOf(values: Iterable<number>, log: boolean): Span | null {
  let [low, high] = [Infinity, -Infinity];
  for (const one of values) {
    if (!Number.isFinite(one) || (log && one <= 0)) continue;
    if (one < low) low = one;
    if (one > high) high = one;
  }
  return low <= high ? [low, high] : null;
}

/** Cells of a heat map are as wide as their distance. */
function cellEdges(places: Float64Array): Float64Array {
  const count = places.length;
  const at = (index: number) => places[index] as number;
  if (count === 1) return Float64Array.from([at(0) - 0.5, at(0) + 0.5]);
  return Float64Array.from({ length: count + 1 }, (_, index) =>
    index === 0 ? at(0) - (at(1) - at(0)) / 2 : index === count ? at(count - 1) + (at(count - 1) - at(count - 2)) / 2 : (at(index - 1) + at(index)) / 2,
  );
}

function* shownOf(figure: Figure, traces: Trace[], bars: Map<Trace, Bar[]>, along: "x" | "y"): Generator<number> {
  for (const one of traces) {
    if (one.kind === "heat") yield* cellEdges(one[along]);
    else if (one.kind === "bar")
      for (const bar of bars.get(one) ?? []) {
        if (one.horizontal === (along === "y")) yield* [bar.from, bar.to];
        else yield* [bar.base, bar.top];
      }
    else yield* one[along];
  }
  const axis = figure[along];
  if (axis.kind === "category" && traces.some((one) => one.kind !== "heat")) yield* [-0.4, axis.categories.length - 0.6];
}

function scaleOf(axis: Axis, span: Span, from: number, to: number): (value: number) => number {
  const [low, high] = axis.reversed ? [span[1], span[0]] : span;
  const log = axis.kind === "log";
  const [a, b] = log ? [Math.log(low), Math.log(high)] : [low, high];
  return (value) => from + (((log ? Math.log(value) : value) - a) / (b - a)) * (to - from);
}

function marks(axis: Axis, span: Span, most: number): [number, string][] {
  if (axis.kind === "category") {
    const every = Math.max(1, Math.ceil(axis.categories.length / Math.max(1, most)));
    return axis.categories.map((name, at): [number, string] => [at, name.length > 14 ? `${name.slice(0, 13)}…` : name]).filter((_, at) => at % every === 0);
  }
  if (axis.kind === "date") {
    const found = ticks(span[0] / 1000, span[1] / 1000, most);
    const texts = times(found);
    return found.map((one, at) => [one * 1000, texts[at] ?? ""]);
  }
  if (axis.kind === "log") {
    const found: [number, string][] = [];
    const powers = [Math.ceil(Math.log10(span[0]) - 1e-9), Math.floor(Math.log10(span[1]) + 1e-9)] as const;
    const every = Math.max(1, Math.ceil((powers[1] - powers[0] + 1) / most));
    for (let power = powers[0]; power <= powers[1]; power += every) found.push([10 ** power, number(10 ** power, 3)]);
    return found.length > 1 ? found : ticks(span[0], span[1], most).map((one) => [one, number(one, 3)]);
  }
  const found = ticks(span[0], span[1], most);
  const exact = digits(found);
  return found.map((one) => [one, number(one, exact)]);
}

export function colourAt(trace: Trace, at: number, isDark: boolean): string {
  return trace.colour ?? nth(at, isDark);
}

export function plot(canvas: HTMLCanvasElement, size: [number, number], figure: Figure, hidden: ReadonlySet<number>, isDark: boolean): Drawing | null {
  const ratio = Math.max(1, devicePixelRatio);
  [canvas.width, canvas.height] = [Math.round(size[0] * ratio), Math.round(size[1] * ratio)];
  const context = canvas.getContext("2d");
  const traces = figure.traces.filter((_, at) => !hidden.has(at));
  if (!context) return null;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const style = getComputedStyle(document.documentElement);
  const [text, grid] = ["--quiet", "--grid"].map((name) => style.getPropertyValue(name)) as [string, string];
  const bars = barsOf({ ...figure, traces });
  const heat = traces.some((one) => one.kind === "heat");
  const span = (along: "x" | "y"): Span => {
    const axis = figure[along];
    const found = extentOf(shownOf(figure, traces, bars, along), axis.kind === "log") ?? (axis.kind === "log" ? [1, 10] : [0, 1]);
    return axis.kind === "category" || heat ? found : padded(found, axis.kind === "log");
  };
  const [xs, ys] = [span("x"), span("y")];
  context.font = "11px system-ui, sans-serif";
  const yMarks = marks(figure.y, ys, size[1] / 36);
  const left = 10 + Math.max(14, ...yMarks.map(([, words]) => context.measureText(words).width)) + (figure.y.title ? 14 : 0);
  const edges = { left, top: 6, right: size[0] - 8, bottom: size[1] - 20 - (figure.x.title ? 14 : 0) };
  const [x, y] = [scaleOf(figure.x, xs, edges.left, edges.right), scaleOf(figure.y, ys, edges.bottom, edges.top)];
  context.strokeStyle = grid;
  context.fillStyle = text;
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const [value, words] of yMarks) {
    context.strokeRect(edges.left, Math.round(y(value)) + 0.5, edges.right - edges.left, 0);
    context.fillText(words, edges.left - 5, y(value));
  }
  context.textBaseline = "top";
  context.textAlign = "center";
  for (const [value, words] of marks(figure.x, xs, (edges.right - edges.left) / 70)) {
    context.strokeRect(Math.round(x(value)) + 0.5, edges.top, 0, edges.bottom - edges.top);
    context.fillText(words, x(value), edges.bottom + 4);
  }
  context.fillText(figure.x.title, (edges.left + edges.right) / 2, edges.bottom + 18, edges.right - edges.left);
  if (figure.y.title) {
    context.save();
    context.translate(2, (edges.top + edges.bottom) / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(figure.y.title, 0, 0, edges.bottom - edges.top);
    context.restore();
  }
  context.save();
  context.beginPath();
  context.rect(edges.left, edges.top, edges.right - edges.left, edges.bottom - edges.top);
  context.clip();
  figure.traces.forEach((one, at) => {
    if (hidden.has(at)) return;
    context.strokeStyle = context.fillStyle = nth(at, isDark);
    // What is no colour leaves the one before.
    if (one.colour) context.strokeStyle = context.fillStyle = one.colour;
    if (one.kind === "heat") heatMap(context, one, x, y, isDark);
    else if (one.kind === "bar")
      for (const bar of bars.get(one) ?? []) {
        const [a, b] = one.horizontal ? [x(bar.base), x(bar.top)] : [x(bar.from), x(bar.to)];
        const [c, d] = one.horizontal ? [y(bar.from), y(bar.to)] : [y(bar.base), y(bar.top)];
        context.fillRect(Math.min(a, b), Math.min(c, d), Math.max(1, Math.abs(b - a)), Math.abs(d - c));
      }
    else line(context, one, x, y);
  });
  context.restore();
  return { x, y, edges };
}

function line(context: CanvasRenderingContext2D, one: Trace, x: (value: number) => number, y: (value: number) => number): void {
  const count = Math.min(one.x.length, one.y.length);
  context.lineWidth = 1.8;
  context.beginPath();
  let open = false;
  for (let at = 0; at < count; at++) {
    const [left, top] = [x(one.x[at] as number), y(one.y[at] as number)];
    if (!Number.isFinite(left) || !Number.isFinite(top)) {
      open = false;
      continue;
    }
    if (one.lines) {
      if (open) context.lineTo(left, top);
      else context.moveTo(left, top);
    }
    if (one.markers) context.fillRect(left - 2.5, top - 2.5, 5, 5);
    open = true;
  }
  if (one.lines) context.stroke();
}

function heatMap(context: CanvasRenderingContext2D, one: Trace, x: (value: number) => number, y: (value: number) => number, isDark: boolean): void {
  const range = extentOf(one.z, false) ?? [0, 1];
  const colours = ramp(isDark);
  const [columns, rows] = [cellEdges(one.x), cellEdges(one.y)];
  const wide = one.x.length;
  for (let at = 0; at < one.z.length; at++) {
    const value = one.z[at] as number;
    if (!Number.isFinite(value)) continue;
    const pixel = colours[Math.round(255 * (range[1] > range[0] ? (value / 2 - range[0] / 2) / (range[1] / 2 - range[0] / 2) : 0.5))] as number;
    context.fillStyle = `rgb(${pixel & 255} ${(pixel >> 8) & 255} ${(pixel >> 16) & 255})`;
    const [row, column] = [Math.floor(at / wide), at % wide];
    const [a, b] = [x(columns[column] as number), x(columns[column + 1] as number)];
    const [c, d] = [y(rows[row] as number), y(rows[row + 1] as number)];
    context.fillRect(Math.min(a, b), Math.min(c, d), Math.abs(b - a) + 0.5, Math.abs(d - c) + 0.5);
  }
}

/** The point that is next to the cursor, in words; "": none is near. */
export function near(figure: Figure, hidden: ReadonlySet<number>, drawing: Drawing, left: number, top: number): string {
  const told = (axis: Axis, value: number) => (axis.kind === "category" ? (axis.categories[Math.round(value)] ?? "") : axis.kind === "date" ? new Date(value).toISOString().replace(".000Z", "Z") : number(value, 7));
  let [best, words] = [24 ** 2, ""];
  figure.traces.forEach((one, index) => {
    if (hidden.has(index)) return;
    if (one.kind === "heat") {
      const within = (edges: Float64Array, to: (value: number) => number, at: number) => edges.slice(1).findIndex((edge, place) => (to(edges[place] as number) - at) * (to(edge) - at) <= 0);
      const [column, row] = [within(cellEdges(one.x), drawing.x, left), within(cellEdges(one.y), drawing.y, top)];
      if (column >= 0 && row >= 0) words = `${one.name}: ${number(one.z[row * one.x.length + column] ?? NaN, 7)} at ${told(figure.x, one.x[column] ?? NaN)}, ${told(figure.y, one.y[row] ?? NaN)}`;
      return;
    }
    const count = Math.min(one.x.length, one.y.length);
    for (let at = 0; at < count; at++) {
      const far = (drawing.x(one.x[at] as number) - left) ** 2 + (drawing.y(one.y[at] as number) - top) ** 2;
      if (far < best) [best, words] = [far, `${one.name}: ${told(figure.x, one.x[at] as number)}, ${told(figure.y, one.y[at] as number)}`];
    }
  });
  return words;
}
