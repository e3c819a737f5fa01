// The range of an axis: all of the values, or the robust part of them, and what a log axis cannot show.
import type { Polyline } from "./polyline";

export type Span = [number, number];

/** The smallest and largest finite value of lines; on a log axis only what is above 0 counts. */
export function extent(values: Iterable<Float64Array>, log = false): Span | null {
  let low = Infinity;
  let high = -Infinity;
  for (const one of values) {
    for (const value of one) {
      if (!Number.isFinite(value) || (log && value <= 0)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return low <= high ? [low, high] : null;
}

/** From the 1st to the 99th percentile. */
export function robust(lines: Polyline[], log = false): Span | null {
  const all: number[] = [];
  for (const one of lines)
    for (let at = 0; at < one.length; at++) {
      const value = one.y[at] as number;
      if (Number.isFinite(value) && !(log && value <= 0)) all.push(value);
    }
  if (all.length === 0) return null;
  const sorted = Float64Array.from(all).sort();
  const at = (part: number) => sorted[Math.round(part * (sorted.length - 1))] as number;
  return [at(0.01), at(0.99)];
}

/** 5 % of room on both sides; a single value gets some room of its own. */
export function padded(span: Span, log = false, part = 0.05): Span {
  const [low, high] = span;
  if (log) {
    const room = low === high ? Math.log(2) : part * (Math.log(high) - Math.log(low));
    // The logarithm rounds: what is in the range stays in it. Both ends are numbers above 0.
    const made: Span = [Math.min(low, Math.exp(Math.log(low) - room)), Math.max(high, Math.exp(Math.log(high) + room))];
    return [Math.max(made[0], 5e-324), Math.min(made[1], Number.MAX_VALUE)];
  }
  if (low === high) {
    const room = Math.abs(low) * 0.1 || 1;
    return [low - room, high + room];
  }
  // Halves, since the difference of two large numbers of opposite sign overflows.
  const room = 2 * part * (high / 2 - low / 2);
  const made: Span = [low - room, high + room];
  return Number.isFinite(made[0]) && Number.isFinite(made[1]) ? made : [Math.max(low, -1.79e308), Math.min(high, 1.79e308)];
}

/** How many corners of the lines lie above and below, and how many a log axis cannot hold. */
export function outside(lines: Polyline[], span: Span, log: boolean): { above: number; below: number; nonPositive: number } {
  const count = { above: 0, below: 0, nonPositive: 0 };
  for (const one of lines)
    for (let at = 0; at < one.length; at++) {
      const value = one.y[at] as number;
      if (log && value <= 0) count.nonPositive += 1;
      else if (value > span[1]) count.above += 1;
      else if (value < span[0]) count.below += 1;
    }
  return count;
}
