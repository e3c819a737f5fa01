import { describe, expect, it } from "vitest";
import { parts, placer, trace } from "../src/chart/paint";
import { line } from "../src/chart/polyline";
import { group } from "./made";

const at = (bin: number, n: number) => ({ bin, mean: bin, std: 0, min: 0, max: 0, n });

/** What a canvas is told. */
class Told {
  readonly calls: [string, number, number][] = [];
  moveTo(x: number, y: number) {
    this.calls.push(["move", x, y]);
  }
  lineTo(x: number, y: number) {
    this.calls.push(["line", x, y]);
  }
}

describe("a mean of fewer runs than the group has", () => {
  it("is dashed from the row before to the row after, and each step is drawn once", () => {
    const series = group([at(0, 3), at(1, 3), at(2, 2), at(3, 2), at(4, 3), at(5, 3)]);
    const partial = [false, false, true, true, false, false];
    const [whole, thin] = parts({ series, raw: line(series, 1), partial });
    const drawn = (one: typeof whole, from: number) => !Number.isNaN(one.y[from] as number) && !Number.isNaN(one.y[from + 1] as number);
    const steps = [0, 1, 2, 3, 4].map((from) => [drawn(whole, from), drawn(thin, from)]);
    expect(steps).toEqual([
      [true, false],
      [false, true],
      [false, true],
      [false, true],
      [true, false],
    ]);
  });
});

describe("a line on a canvas", () => {
  it("is lifted at NaN, and gives the points that stand alone", () => {
    const told = new Told();
    const place = placer(0, 10, 0, 10, false);
    const y = Float64Array.of(1, 2, NaN, 3, NaN, 4, 5);
    const alone = trace(told as unknown as CanvasPath, { x: Float64Array.of(0, 1, 1, 2, 2, 3, 4), y, length: 7 }, place, place);
    expect(told.calls.map(([what]) => what)).toEqual(["move", "line", "move", "move", "line"]);
    expect(alone).toEqual([2, 3]);
  });
});
