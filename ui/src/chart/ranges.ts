// The ranges of a card's axes: zoom first, then what is fixed, then what the lines have.
import type { View } from "../state/address";
import type { Drawn } from "./lines";
import type { Polyline } from "./polyline";
import { type Span, extent, outside, padded, robust } from "./scale";

export interface Ranges {
  x: Span;
  y: Span;
  above: number;
  below: number;
  /** Corners that a log axis leaves out. */
  nonPositive: number;
  nonPositiveX: number;
}

function cropped(one: Polyline, [low, high]: Span): Float64Array {
  const kept: number[] = [];
  for (let at = 0; at < one.length; at++) {
    const x = one.x[at] as number;
    if (x >= low && x <= high) kept.push(one.y[at] as number);
  }
  return Float64Array.from(kept);
}

/** What a line has between two x: its corners; where they are fewer than two also where it comes in and goes out. */
function within(one: Polyline, span: Span): Float64Array {
  const corners = cropped(one, span);
  if (corners.length > 1) return corners;
  const kept = [...corners];
  for (let at = 1; at < one.length; at++) {
    const [x0, x1] = [one.x[at - 1] as number, one.x[at] as number];
    const [y0, y1] = [one.y[at - 1] as number, one.y[at] as number];
    for (const edge of span) {
      // Halves, since a difference of two large numbers overflows.
      if ((x0 < edge && x1 > edge) || (x0 > edge && x1 < edge)) kept.push(y0 + 2 * (y1 / 2 - y0 / 2) * ((edge - x0) / (x1 - x0)));
    }
  }
  return Float64Array.from(kept);
}

export function ranges(all: Drawn[], key: string, view: Pick<View, "zoom" | "zoomY" | "fixedY" | "robust" | "logX" | "logY">): Ranges {
  const lines = all.flatMap((one) => [one.raw, ...(one.smooth ? [one.smooth] : []), ...(one.band ? [one.band.low, one.band.high] : [])]);
  const xs = lines.map((one) => one.x.subarray(0, one.length));
  const marked = Float64Array.from(all.flatMap((one) => one.marks.map((mark) => mark.x)));
  const { logX, logY } = view;
  const known = extent([...xs, marked], logX);
  let x: Span = view.zoom ?? known ?? (logX ? [1, 10] : [0, 1]);
  if (!view.zoom && x[0] === x[1]) x = padded(x, logX);
  if (logX && x[0] <= 0) x = [Math.min(known?.[0] ?? 1, x[1] / 10), x[1]];
  const seen: Polyline[] = view.zoom ? lines.map((one) => ({ x: one.x, ...fit(within(one, x)) })) : lines;
  const zoomY = view.zoomY[key] ?? view.fixedY;
  let y: Span;
  if (zoomY && !(logY && zoomY[0] <= 0)) y = zoomY;
  else {
    const wanted = view.robust ? robust(seen, logY) : extent(seen.map((one) => one.y.subarray(0, one.length)), logY);
    y = padded(wanted ?? (logY ? [1, 10] : [0, 1]), logY);
  }
  const raw = all.map((one) => one.raw);
  const told = outside(view.zoom ? raw.map((one) => ({ x: one.x, ...fit(cropped(one, x)) })) : raw, y, logY);
  let nonPositiveX = 0;
  if (logX) for (const one of raw) for (let at = 0; at < one.length; at++) if ((one.x[at] as number) <= 0) nonPositiveX += 1;
  return { x, y, ...told, nonPositiveX };
}

const fit = (y: Float64Array) => ({ y, length: y.length });
