// The lines of parallel coordinates: where each run's line goes, drawn in parts, and which is next to a place.
import type { Axis, Without } from "./axis";

export const [TOP, SLOT, GAP] = [10, 16, 12];
const [BOTTOM, SIDE, NEAR, PART] = [8, 70, 10, 20];
const WHYS: Without[] = ["≤ 0", "+inf", "−inf", "NaN", "no value"];

export interface Shape {
  x: number[];
  /** Where the axes end, and the places of those without one begin. */
  end: number;
  /** By axis and row: the height on the picture. */
  heights: Float32Array[];
  whys: Without[];
}

export function shapeOf(axes: Axis[], width: number, height: number): Shape {
  const whys = WHYS.filter((why) => axes.some((axis) => axis.without.includes(why)));
  const end = height - BOTTOM - (whys.length ? GAP + SLOT * whys.length : 0);
  const step = axes.length > 1 ? (width - 2 * SIDE) / (axes.length - 1) : 0;
  const heights = axes.map((axis) =>
    Float32Array.from(axis.place, (place, row) => {
      const why = axis.without[row] ?? "";
      return why === "" ? end - place * (end - TOP) : end + GAP + SLOT * (whys.indexOf(why) + 0.5);
    }),
  );
  return { x: axes.map((_, at) => (axes.length > 1 ? SIDE + at * step : width / 2)), end, heights, whys };
}

/** How wide the name of an axis may be: up to its neighbours, at the ends up to the edge. */
export function roomOf({ x }: Shape, at: number): number {
  const step = x.length > 1 ? (x[1] ?? 0) - (x[0] ?? 0) - 8 : Infinity;
  return Math.min(step, at === 0 || at === x.length - 1 ? 2 * SIDE - 8 : Infinity);
}

export function path(context: CanvasRenderingContext2D, shape: Shape, rows: number[]): void {
  context.beginPath();
  for (const row of rows)
    shape.x.forEach((x, at) => {
      const y = shape.heights[at]?.[row] ?? 0;
      if (at === 0) context.moveTo(x, y);
      else context.lineTo(x, y);
    });
  context.stroke();
}

/** The lines of rows, some with each `next`. */
export function* strokes(context: CanvasRenderingContext2D, shape: Shape, rows: number[], of: (row: number) => string): Generator<undefined> {
  const byColour = new Map<string, number[]>();
  for (const row of rows) {
    const list = byColour.get(of(row));
    if (list) list.push(row);
    else byColour.set(of(row), [row]);
  }
  let drawn = 0;
  for (const [name, list] of byColour) {
    context.strokeStyle = name;
    for (let from = 0; from < list.length; from += PART) {
      const some = list.slice(from, from + PART);
      path(context, shape, some);
      drawn += some.length;
      if (drawn < PART) continue;
      drawn = 0;
      yield;
    }
  }
}

/** The row whose line is next to a place, of those that are kept; -1: none is near. */
export function nearest(shape: Shape, rows: number[], x: number, y: number): number {
  const at = Math.max(0, Math.min(shape.x.length - 2, shape.x.findLastIndex((one) => one <= x)));
  const [from, to] = [shape.x[at] ?? 0, shape.x[at + 1] ?? 0];
  const part = to > from ? Math.min(1, Math.max(0, (x - from) / (to - from))) : 0;
  let [best, distance] = [-1, NEAR];
  for (const row of rows) {
    const [a, b] = [shape.heights[at]?.[row] ?? 0, shape.heights[at + 1]?.[row] ?? shape.heights[at]?.[row] ?? 0];
    const off = Math.abs(a + (b - a) * part - y);
    if (off < distance) [best, distance] = [row, off];
  }
  return best;
}
