// What a series has at the cursor: the point or the bin nearest to x.
import type { Series } from "../wire/types";

export interface Reading {
  x: number;
  /** What the order goes by: the value, the bin's last, the mean. */
  value: number;
  min: number | null;
  max: number | null;
  /** Points of the bin, or runs of the group. */
  n: number | null;
  smooth: number | null;
}

/** The row whose x is nearest; x must not fall. -1 without rows. */
export function nearest(x: ArrayLike<number>, length: number, at: number): number {
  if (length === 0) return -1;
  let low = 0;
  let high = length - 1;
  while (low < high) {
    const mid = (low + high) >> 1;
    if ((x[mid] as number) < at) low = mid + 1;
    else high = mid;
  }
  return low > 0 && at - (x[low - 1] as number) <= (x[low] as number) - at ? low - 1 : low;
}

/** The nearest row where x falls somewhere: all are looked at. */
function nearestOfAll(x: ArrayLike<number>, length: number, at: number): number {
  let best = -1;
  let distance = Infinity;
  for (let row = 0; row < length; row++) {
    const here = Math.abs((x[row] as number) - at);
    if (here < distance) [best, distance] = [row, here];
  }
  return best;
}

/** Whether x is beyond the first or the last row by more than the rows there are apart: the series has nothing there. */
function beyond(x: ArrayLike<number>, rows: number, at: number, bin: number): boolean {
  if (rows < 2 || !Number.isFinite(at)) return false; // at infinity each has its last value
  const [first, second, before, last] = [x[0], x[1], x[rows - 2], x[rows - 1]] as [number, number, number, number];
  return at < first - Math.max(second - first, bin) || at > last + Math.max(last - before, bin);
}

export function reading(series: Series, at: number, bin: number, monotonic: boolean): Reading | null {
  const find = monotonic ? nearest : nearestOfAll;
  const { columns } = series;
  const smooth = (row: number) => (columns["smooth"] ? (columns["smooth"][row] as number) : null);
  if (series.kind === "points") {
    const { x, y } = columns;
    const row = x && y ? find(x, series.rows, at) : -1;
    if (!x || !y || row < 0 || (monotonic && beyond(x, series.rows, at, bin))) return null;
    return { x: x[row] as number, value: y[row] as number, min: null, max: null, n: null, smooth: smooth(row) };
  }
  if (series.kind === "bins") {
    const { last, last_x, first_x, min, max, count } = columns;
    if (!last || !last_x || !first_x || (monotonic && beyond(last_x, series.rows, at, bin))) return null;
    let row = find(last_x, series.rows, at);
    // The bin that holds x comes before one whose end is nearer.
    if (row >= 0 && row + 1 < series.rows && at >= (first_x[row + 1] as number)) row += 1;
    if (row < 0) return null;
    return {
      x: last_x[row] as number,
      value: last[row] as number,
      min: min ? (min[row] as number) : null,
      max: max ? (max[row] as number) : null,
      n: count ? (count[row] as number) : null,
      smooth: smooth(row),
    };
  }
  const { bin: edges, mean, min, max, n } = columns;
  const row = edges && mean ? find(edges, series.rows, bin === 1 ? at : at - bin / 2) : -1;
  if (!edges || !mean || row < 0 || beyond(edges, series.rows, at, bin)) return null;
  return {
    x: edges[row] as number,
    value: mean[row] as number,
    min: min ? (min[row] as number) : null,
    max: max ? (max[row] as number) : null,
    n: n ? (n[row] as number) : null,
    smooth: smooth(row),
  };
}

/** By value, the largest first; what is no number comes last. */
export function byValue<T extends { reading: Reading }>(all: T[]): T[] {
  const rank = (one: T) => {
    const value = one.reading.smooth ?? one.reading.value;
    return Number.isNaN(value) ? -Infinity : value;
  };
  return [...all].sort((a, b) => {
    const [left, right] = [rank(a), rank(b)];
    return left === right ? 0 : right > left ? 1 : -1;
  });
}
