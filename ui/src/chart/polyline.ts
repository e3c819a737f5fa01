// From a series to what is drawn: first, min, max, last of each bin in true order at true steps; NaN and cuts break the line.
import type { Series } from "../wire/types";

/** Points of a line, x and y side by side; a NaN in y lifts the pen. */
export interface Polyline {
  x: Float64Array;
  y: Float64Array;
  length: number;
}

class Pen {
  x: Float64Array;
  y: Float64Array;
  length = 0;

  constructor(capacity: number) {
    this.x = new Float64Array(capacity);
    this.y = new Float64Array(capacity);
  }

  lift(): void {
    if (this.length > 0 && !Number.isNaN(this.y[this.length - 1])) this.put(this.x[this.length - 1] as number, NaN);
  }

  to(x: number, y: number): void {
    const before = this.length - 1;
    if (before >= 0 && this.x[before] === x && this.y[before] === y) return;
    this.put(x, y);
  }

  private put(x: number, y: number): void {
    this.x[this.length] = x;
    this.y[this.length] = y;
    this.length += 1;
  }
}

function ofPoints(series: Series, name: string): Polyline {
  const { x, cut } = series.columns;
  const y = series.columns[name];
  const pen = new Pen(2 * series.rows);
  if (!x || !y) return pen;
  for (let row = 0; row < series.rows; row++) {
    const value = y[row] as number;
    if (cut?.[row]) pen.lift();
    if (Number.isFinite(value)) pen.to(x[row] as number, value);
    else pen.lift();
  }
  return pen;
}

function ofBins(series: Series): Polyline {
  const { first, first_x, last, last_x, min, min_x, max, max_x, cut } = series.columns;
  const pen = new Pen(6 * series.rows);
  if (!first || !first_x || !last || !last_x || !min || !min_x || !max || !max_x) return pen;
  for (let row = 0; row < series.rows; row++) {
    if (cut?.[row] || !Number.isFinite(first[row] as number)) pen.lift();
    if (Number.isFinite(first[row] as number)) pen.to(first_x[row] as number, first[row] as number);
    const low = min_x[row] as number;
    const high = max_x[row] as number;
    if (Number.isFinite(min[row] as number)) {
      if (low <= high) {
        pen.to(low, min[row] as number);
        pen.to(high, max[row] as number);
      } else {
        pen.to(high, max[row] as number);
        pen.to(low, min[row] as number);
      }
    }
    if (Number.isFinite(last[row] as number)) pen.to(last_x[row] as number, last[row] as number);
    else pen.lift();
  }
  return pen;
}

function ofGroup(series: Series, name: string, bin: number): Polyline {
  const { bin: edges } = series.columns;
  const y = series.columns[name];
  const pen = new Pen(2 * series.rows);
  if (!edges || !y) return pen;
  for (let row = 0; row < series.rows; row++) {
    const value = y[row] as number;
    if (Number.isFinite(value)) pen.to(middle(edges[row] as number, bin), value);
    else pen.lift();
  }
  return pen;
}

/** Where a bin's mean is drawn: at its step when it holds only one, else in its middle. */
export function middle(edge: number, bin: number): number {
  return bin === 1 ? edge : edge + bin / 2;
}

/** The line of a series as it was recorded. */
export function line(series: Series, bin: number): Polyline {
  if (series.kind === "points") return ofPoints(series, "y");
  return series.kind === "bins" ? ofBins(series) : ofGroup(series, "mean", bin);
}

/** The smoothed line, at the last step of each bin; null without one. */
export function smoothLine(series: Series, bin: number): Polyline | null {
  const { smooth, last_x, cut } = series.columns;
  if (!smooth) return null;
  if (series.kind === "points") return ofPoints(series, "smooth");
  if (series.kind !== "bins") return ofGroup(series, "smooth", bin);
  const pen = new Pen(2 * series.rows);
  for (let row = 0; row < series.rows; row++) {
    if (cut?.[row]) pen.lift();
    if (Number.isFinite(smooth[row] as number)) pen.to((last_x as Float64Array)[row] as number, smooth[row] as number);
    else pen.lift();
  }
  return pen;
}

/** The lower and upper edge of a band around a group's mean. */
export type Spread = "std" | "stderr" | "range" | "none";

export function band(series: Series, spread: Spread, bin: number): { low: Polyline; high: Polyline } | null {
  const { bin: edges, mean, min, max } = series.columns;
  if (spread === "none" || !edges || !mean) return null;
  const by = spread === "range" ? null : series.columns[spread];
  const low = new Pen(2 * series.rows);
  const high = new Pen(2 * series.rows);
  for (let row = 0; row < series.rows; row++) {
    const x = middle(edges[row] as number, bin);
    // The spread of one run alone is unknown, and is drawn as none.
    const width = by ? (by[row] as number) || 0 : 0;
    const down = by ? (mean[row] as number) - width : (min?.[row] ?? NaN);
    const up = by ? (mean[row] as number) + width : (max?.[row] ?? NaN);
    if (Number.isFinite(down) && Number.isFinite(up)) {
      low.to(x, down);
      high.to(x, up);
    } else {
      low.lift();
      high.lift();
    }
  }
  return { low, high };
}
