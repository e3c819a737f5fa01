import { describe, expect, it } from "vitest";
import { band, line, smoothLine } from "../src/chart/polyline";
import type { Polyline } from "../src/chart/polyline";
import { bins, group, points } from "./made";

const corners = (one: Polyline) => Array.from({ length: one.length }, (_, at) => [one.x[at], one.y[at]]);

/** Numbers that are the same each time. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

describe("bins", () => {
  it("are drawn first, min, max, last in true order at true steps", () => {
    const series = bins([{ first: [0, 5], last: [15, 6], min: [9, 1], max: [3, 8] }]);
    expect(corners(line(series, 16))).toEqual([[0, 5], [3, 8], [9, 1], [15, 6]]);
  });

  it("draw a corner once when it is two of the four", () => {
    const series = bins([{ first: [0, 1], last: [15, 8], min: [0, 1], max: [15, 8] }]);
    expect(corners(line(series, 16))).toEqual([[0, 1], [15, 8]]);
  });

  it("break where the first or the last is NaN, and at a cut", () => {
    const series = bins([
      { first: [0, 1], last: [15, NaN], min: [0, 1], max: [8, 2] },
      { first: [16, 3], last: [31, 4], min: [16, 3], max: [31, 4] },
      { first: [10, 5], last: [14, 6], min: [10, 5], max: [14, 6], cut: 1 },
    ]);
    expect(corners(line(series, 16))).toEqual([
      [0, 1], [8, 2], [8, NaN],
      [16, 3], [31, 4], [31, NaN],
      [10, 5], [14, 6],
    ]);
  });

  it("without a finite point draw nothing and break", () => {
    const series = bins([
      { first: [0, 1], last: [0, 1], min: [0, 1], max: [0, 1] },
      { first: [16, NaN], last: [31, Infinity], min: [NaN, NaN], max: [NaN, NaN] },
      { first: [32, 2], last: [32, 2], min: [32, 2], max: [32, 2] },
    ]);
    expect(corners(line(series, 16))).toEqual([[0, 1], [0, NaN], [32, 2]]);
  });

  it("reach every extreme of random series, and nothing that is not there", () => {
    const next = random(7);
    for (let turn = 0; turn < 200; turn++) {
      const rows = [];
      const all: [number, number][] = [];
      for (let bin = 0; bin < 20; bin++) {
        const found: [number, number][] = [];
        const count = 1 + Math.floor(next() * 9);
        for (let at = 0; at < count; at++) {
          const value = next() < 0.1 ? NaN : next() < 0.05 ? Infinity : (next() - 0.5) * 10 ** Math.floor(next() * 30 - 15);
          found.push([bin * 16 + at, value]);
        }
        const finite = found.filter(([, y]) => Number.isFinite(y));
        all.push(...finite);
        const by = [...finite].sort((a, b) => a[1] - b[1]);
        const none: [number, number] = [NaN, NaN];
        rows.push({
          first: found[0] as [number, number],
          last: found.at(-1) as [number, number],
          min: by[0] ?? none,
          max: by.at(-1) ?? none,
        });
      }
      const drawn = corners(line(bins(rows), 16)).filter(([, y]) => !Number.isNaN(y));
      for (const corner of drawn) expect(all).toContainEqual(corner);
      for (const { min, max } of rows)
        for (const corner of [min, max]) if (!Number.isNaN(corner[1])) expect(drawn).toContainEqual(corner);
      for (let at = 1; at < drawn.length; at++) expect(drawn[at]?.[0]).toBeGreaterThanOrEqual(drawn[at - 1]?.[0] as number);
    }
  });
});

describe("points", () => {
  it("break at NaN, at infinities and at a rewind", () => {
    const series = points([[0, 1], [1, NaN], [2, 3], [3, -Infinity], [4, 5], [2, 6]], [0, 0, 0, 0, 0, 1]);
    expect(corners(line(series, 1))).toEqual([[0, 1], [0, NaN], [2, 3], [2, NaN], [4, 5], [4, NaN], [2, 6]]);
  });

  it("keep repeated steps in their order", () => {
    const series = points([[1, 1], [1, 5], [1, 3], [2, 0]]);
    expect(corners(line(series, 1))).toEqual([[1, 1], [1, 5], [1, 3], [2, 0]]);
  });

  it("have a smoothed line only when there is one", () => {
    const series = points([[0, 1], [1, 2]]);
    expect(smoothLine(series, 1)).toBeNull();
    series.columns["smooth"] = Float64Array.of(1, 1.5);
    expect(corners(smoothLine(series, 1) as Polyline)).toEqual([[0, 1], [1, 1.5]]);
  });
});

describe("a smoothed line of bins", () => {
  it("has its values at the last steps", () => {
    const series = bins([
      { first: [0, 1], last: [13, 2], min: [0, 1], max: [13, 2] },
      { first: [16, 1], last: [30, 2], min: [16, 1], max: [30, 2] },
    ]);
    series.columns["smooth"] = Float64Array.of(1.5, 1.7);
    expect(corners(smoothLine(series, 16) as Polyline)).toEqual([[13, 1.5], [30, 1.7]]);
  });
});

describe("a group", () => {
  it("is drawn in the middle of its bins, with its spread around the mean", () => {
    const series = group([{ bin: 0, mean: 1, std: 0.5, min: 0, max: 3, n: 3 }, { bin: 16, mean: 2, std: NaN, min: 2, max: 2, n: 1 }]);
    expect(corners(line(series, 16))).toEqual([[8, 1], [24, 2]]);
    const spread = band(series, "std", 16);
    expect(corners(spread?.low as Polyline)).toEqual([[8, 0.5], [24, 2]]);
    expect(corners(spread?.high as Polyline)).toEqual([[8, 1.5], [24, 2]]);
    const range = band(series, "range", 16);
    expect(corners(range?.low as Polyline)).toEqual([[8, 0], [24, 2]]);
    expect(band(series, "none", 16)).toBeNull();
  });

  it("stands at its step when a bin holds one", () => {
    expect(corners(line(group([{ bin: 7, mean: 1, std: 0, min: 1, max: 1, n: 2 }]), 1))).toEqual([[7, 1]]);
  });
});
