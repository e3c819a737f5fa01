// Draws lines, bands and marks on a canvas, in the order: bands, raw lines, smoothed lines, marks.
import type { Drawn } from "./lines";
import type { Polyline } from "./polyline";

export interface Frame {
  left: number;
  top: number;
  width: number;
  height: number;
  x: [number, number];
  y: [number, number];
  logX: boolean;
  logY: boolean;
  ratio: number;
}

type Place = (value: number) => number;

/** From a value to a pixel; a log axis gives NaN for what it cannot hold. */
export function placer(low: number, high: number, from: number, length: number, log: boolean): Place {
  if (log) {
    // Of numbers close to each other, logarithms differ by less than they are rounded.
    const above = (value: number) => (value < 2 * low ? Math.log1p((value - low) / low) : Math.log(value) - Math.log(low));
    const scale = length / above(high);
    return (value) => (value > 0 ? from + above(value) * scale : NaN);
  }
  // Halved first, since high - low may overflow; very small numbers are made large, since their scale would.
  const unit = Math.max(Math.abs(low), Math.abs(high)) < 1e-280 ? 2 ** 900 : 0.5;
  const start = low * unit;
  const scale = length / (high * unit - start);
  return (value) => from + (value * unit - start) * scale;
}

/** Pixels far outside are drawn at the edge of what a canvas holds exactly. */
const far = (pixel: number) => (pixel > 1e6 ? 1e6 : pixel < -1e6 ? -1e6 : pixel);

/** Adds a polyline to the current path; gives the pixels of points that stand alone. */
export function trace(target: CanvasPath, one: Polyline, px: Place, py: Place): number[] {
  const alone: number[] = [];
  let down = 0;
  let [startX, startY] = [0, 0];
  for (let at = 0; at <= one.length; at++) {
    const x = at < one.length ? far(px(one.x[at] as number)) : NaN;
    const y = at < one.length ? far(py(one.y[at] as number)) : NaN;
    if (Number.isNaN(x) || Number.isNaN(y)) {
      if (down === 1) alone.push(startX, startY);
      down = 0;
      continue;
    }
    if (down === 0) {
      target.moveTo(x, y);
      [startX, startY] = [x, y];
    } else target.lineTo(x, y);
    down += 1;
  }
  return alone;
}

function dots(ctx: CanvasRenderingContext2D, places: number[], size: number): void {
  ctx.beginPath();
  for (let at = 0; at < places.length; at += 2) {
    const [x, y] = [places[at] as number, places[at + 1] as number];
    ctx.moveTo(x + size, y);
    ctx.arc(x, y, size, 0, 2 * Math.PI);
  }
  ctx.fill();
}

function stroke(ctx: CanvasRenderingContext2D, one: Polyline, px: Place, py: Place, width: number, ratio: number, few: number): void {
  ctx.lineWidth = width * ratio;
  ctx.beginPath();
  const alone = trace(ctx, one, px, py);
  ctx.stroke();
  if (alone.length) dots(ctx, alone, 2 * ratio);
  if (one.length <= few) {
    const places: number[] = [];
    for (let at = 0; at < one.length; at++) {
      const [x, y] = [far(px(one.x[at] as number)), far(py(one.y[at] as number))];
      if (!Number.isNaN(x) && !Number.isNaN(y)) places.push(x, y);
    }
    dots(ctx, places, 2 * ratio);
  }
}

/** A mean of fewer runs than the group has is dashed: the line in two, each with NaN where the other is drawn. */
export function parts(one: Pick<Drawn, "raw" | "partial" | "series">): [Polyline, Polyline] {
  const { raw, partial } = one;
  const whole = { x: raw.x, y: raw.y.slice(), length: raw.length };
  const thin = { x: raw.x, y: raw.y.slice(), length: raw.length };
  // Without NaN the corners of the line are the rows of the series; with them, the line is drawn as whole.
  if (!partial || raw.length !== one.series.rows) return [whole, { ...thin, length: 0 }];
  for (let at = 0; at < raw.length; at++) {
    if (partial[at]) whole.y[at] = NaN;
    else if (!partial[at - 1] && !partial[at + 1]) thin.y[at] = NaN;
  }
  return [whole, thin];
}

function fill(ctx: CanvasRenderingContext2D, low: Polyline, high: Polyline, px: Place, py: Place): void {
  ctx.beginPath();
  let start = 0;
  for (let at = 0; at <= low.length; at++) {
    const ends = at === low.length || Number.isNaN(low.y[at] as number) || Number.isNaN(py(low.y[at] as number));
    if (!ends) continue;
    for (let on = start; on < at; on++) {
      const [x, y] = [far(px(high.x[on] as number)), far(py(high.y[on] as number))];
      if (on === start) ctx.moveTo(x, y);
      else ctx.lineTo(x, y);
    }
    for (let on = at - 1; on >= start; on--) ctx.lineTo(far(px(low.x[on] as number)), far(py(low.y[on] as number)));
    if (at > start) ctx.closePath();
    start = at + 1;
  }
  ctx.fill();
}

function triangle(ctx: CanvasRenderingContext2D, x: number, y: number, up: boolean, size: number): void {
  const way = up ? -size : size;
  ctx.moveTo(x, y + way / 2);
  ctx.lineTo(x - size / 2, y - way / 2);
  ctx.lineTo(x + size / 2, y - way / 2);
  ctx.closePath();
}

/** △ at the top for +inf, ▽ at the bottom for −inf, ⊗ at the bottom for NaN. */
function mark(ctx: CanvasRenderingContext2D, one: Drawn, frame: Frame, px: Place): void {
  const size = 7 * frame.ratio;
  const last = { pinf: -Infinity, ninf: -Infinity, nan: -Infinity };
  ctx.lineWidth = frame.ratio;
  for (const found of one.marks) {
    const x = px(found.x);
    if (!(x >= frame.left - size && x <= frame.left + frame.width + size)) continue;
    ctx.beginPath();
    // Marks closer than their own size cover each other; one is enough, the counts are in the hover.
    if (found.pinf && x - last.pinf > size / 2) {
      triangle(ctx, x, frame.top + size, true, size);
      last.pinf = x;
    }
    if (found.ninf && x - last.ninf > size / 2) {
      triangle(ctx, x, frame.top + frame.height - size, false, size);
      last.ninf = x;
    }
    ctx.fill();
    if (found.nan && x - last.nan > size / 2) {
      const [y, r] = [frame.top + frame.height - size, size / 2];
      const d = r * Math.SQRT1_2;
      ctx.beginPath();
      ctx.arc(x, y, r, 0, 2 * Math.PI);
      ctx.moveTo(x - d, y - d);
      ctx.lineTo(x + d, y + d);
      ctx.moveTo(x + d, y - d);
      ctx.lineTo(x - d, y + d);
      ctx.stroke();
      last.nan = x;
    }
  }
}

export function paint(ctx: CanvasRenderingContext2D, all: Drawn[], frame: Frame): void {
  const px = placer(frame.x[0], frame.x[1], frame.left, frame.width, frame.logX);
  const py = placer(frame.y[0], frame.y[1], frame.top + frame.height, -frame.height, frame.logY);
  // Dots only where points are few: they would hide the line otherwise.
  const few = all.length > 30 ? 1 : Math.min(60, frame.width / frame.ratio / 12);
  ctx.save();
  ctx.beginPath();
  ctx.rect(frame.left, frame.top, frame.width, frame.height);
  ctx.clip();
  ctx.lineJoin = "round";
  for (const one of all) {
    if (!one.band) continue;
    ctx.fillStyle = one.look.colour;
    ctx.globalAlpha = 0.18;
    fill(ctx, one.band.low, one.band.high, px, py);
  }
  const width = all.length > 100 ? 1 : 1.5;
  for (const one of all) {
    ctx.strokeStyle = ctx.fillStyle = one.look.colour;
    ctx.globalAlpha = one.smooth ? 0.28 : 1;
    const strength = one.look.strong ? width + 1.5 : width;
    const [whole, thin] = one.partial ? parts(one) : [one.raw, null];
    stroke(ctx, whole, px, py, one.smooth ? 1 : strength, frame.ratio, one.smooth || one.series.kind === "bins" ? 0 : few);
    if (!thin) continue;
    ctx.setLineDash([4 * frame.ratio, 4 * frame.ratio]);
    stroke(ctx, thin, px, py, strength, frame.ratio, 0);
    ctx.setLineDash([]);
  }
  ctx.globalAlpha = 1;
  for (const one of all) {
    if (!one.smooth) continue;
    ctx.strokeStyle = ctx.fillStyle = one.look.colour;
    stroke(ctx, one.smooth, px, py, one.look.strong ? 3.5 : 2, frame.ratio, 0);
  }
  for (const one of all) {
    ctx.strokeStyle = ctx.fillStyle = one.look.colour;
    mark(ctx, one, frame, px);
  }
  ctx.restore();
}
