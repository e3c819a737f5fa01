import { describe, expect, it } from "vitest";
import { byValue, nearest, reading } from "../src/chart/cursor";
import { bins, group, points } from "./made";

describe("the cursor", () => {
  it("finds the nearest row", () => {
    const x = [0, 10, 20, 20, 30];
    const at = (value: number) => nearest(x, x.length, value);
    expect([-5, 4, 6, 15, 16, 99].map(at).map((row) => x[row])).toEqual([0, 0, 10, 10, 20, 30]);
    expect(nearest([], 0, 3)).toBe(-1);
  });

  it("reads a point, also where x falls", () => {
    const series = points([[0, 1], [10, 2], [5, 3], [20, 4]], [0, 0, 1, 0]);
    expect(reading(series, 6, 1, false)?.value).toBe(3);
    expect(reading(series, 6, 1, false)?.x).toBe(5);
  });

  it("reads the bin that holds x, with its extremes and its count", () => {
    const series = bins([
      { first: [0, 1], last: [15, 2], min: [0, 1], max: [7, 9], count: 16 },
      { first: [16, 3], last: [31, 4], min: [20, 0], max: [31, 4], count: 15 },
    ]);
    expect(reading(series, 17, 16, true)).toEqual({ x: 31, value: 4, min: 0, max: 4, n: 15, smooth: null });
    expect(reading(series, 14, 16, true)).toEqual({ x: 15, value: 2, min: 1, max: 9, n: 16, smooth: null });
  });

  it("reads the mean of a group, with n", () => {
    const series = group([{ bin: 0, mean: 1, std: 1, min: 0, max: 2, n: 3 }, { bin: 16, mean: 5, std: 1, min: 4, max: 6, n: 2 }]);
    expect(reading(series, 25, 16, true)).toMatchObject({ value: 5, n: 2, min: 4, max: 6 });
  });

  it("has nothing where a run has ended, or not begun: its last value is none of there", () => {
    const every10 = points([[100, 1], [110, 2], [120, 3]], [0, 0, 0]);
    const at = (x: number) => reading(every10, x, 1, true)?.value ?? null;
    expect([89, 90, 100, 121, 130, 131].map(at)).toEqual([null, 1, 1, 3, 3, null]);
    expect(at(Infinity)).toBe(3); // the last values
    expect(reading(every10, 1000, 1, false)?.value).toBe(3); // x falls somewhere, so its ends say nothing
    expect(reading(every10, 150, 64, true)?.value).toBe(3); // nothing is seen that is finer than a bin
    expect(reading(points([[5, 7]], [0]), 900, 1, true)?.value).toBe(7); // one value, logged at the end, stands for the run
    const binned = bins([
      { first: [0, 1], last: [15, 2], min: [0, 1], max: [7, 9], count: 16 },
      { first: [16, 3], last: [31, 4], min: [20, 0], max: [31, 4], count: 15 },
    ]);
    expect([47, 48].map((x) => reading(binned, x, 16, true)?.value ?? null)).toEqual([4, null]);
    const grouped = group([{ bin: 0, mean: 1, std: 1, min: 0, max: 2, n: 3 }, { bin: 16, mean: 5, std: 1, min: 4, max: 6, n: 2 }]);
    expect(reading(grouped, 25, 16, true)?.value).toBe(5);
    expect(reading(grouped, 70, 16, true)).toBeNull();
  });

  it("sorts by value, the largest first, NaN last", () => {
    const rows = [1, NaN, Infinity, 3].map((value) => ({ reading: { x: 0, value, min: null, max: null, n: null, smooth: null } }));
    expect(byValue(rows).map((one) => one.reading.value)).toEqual([Infinity, 3, 1, NaN]);
  });
});
