import { describe, expect, it } from "vitest";
import { placer } from "../src/chart/paint";
import { padded } from "../src/chart/scale";
import { digits, ticks } from "../src/chart/ticks";
import { number } from "../src/parts/words";

describe("the marks of an axis", () => {
  it("are round, and inside", () => {
    expect(ticks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(ticks(-3, 7, 5)).toEqual([-2, 0, 2, 4, 6]);
    expect(ticks(0.3, 0.4, 2)).toEqual([0.3, 0.35, 0.4]);
    expect(ticks(0, 2, 8, true)).toEqual([0, 1, 2]);
  });

  it("come to an end for every range that a double holds", () => {
    const ranges: [number, number][] = [
      [2 ** 53 - 3.1, 2 ** 53 - 0.9],
      [1e15, 1e15 + 48],
      [-1.7e308, 1.7e308],
      [5e-324, 2.5e-322],
      [1e-310, 5e-309],
      [0, 1.7e308],
      [1, 1 + 2 ** -52],
    ];
    for (const [low, high] of ranges) {
      const found = ticks(low, high, 6);
      expect(found.length).toBeGreaterThan(0);
      expect(found.length).toBeLessThan(16);
      for (const value of found) expect(value >= low && value <= high, `${value} in ${low}…${high}`).toBe(true);
      expect(new Set(found).size).toBe(found.length);
    }
  });

  it("have so many digits that neighbours differ", () => {
    for (const values of [[1e15, 1e15 + 10, 1e15 + 20], [0, 0.25, 0.5], [1e-9, 2e-9], [1000.001, 1000.002], [2e6, 4e6]]) {
      const words = values.map((one) => number(one, digits(values)));
      expect(new Set(words).size, words.join(" ")).toBe(values.length);
    }
  });
});

describe("very large and very small values", () => {
  it("have a place on the canvas", () => {
    for (const [low, high] of [[5e-324, 2.5e-322], [1e-310, 5e-309], [-1.7e308, 1.7e308]] as const) {
      const place = placer(low, high, 0, 100, false);
      expect(place(low)).toBeCloseTo(0, 6);
      expect(place(high)).toBeCloseTo(100, 6);
    }
  });

  it("that are close to each other have places of their own on a log axis", () => {
    const place = placer(1e15, 1e15 + 48, 0, 480, true);
    for (let at = 0; at <= 48; at++) expect(place(1e15 + at)).toBeCloseTo(10 * at, 1);
    expect(placer(1, 1e10, 0, 100, true)(1e5)).toBeCloseTo(50, 6);
    expect(placer(100, 1000, 0, 100, true)(1)).toBeCloseTo(-200, 6);
  });

  it("stay inside a range with room, on a log axis too", () => {
    for (const span of [[1e15, 1e15 + 48], [1.7e308, 1.7e308], [5e-324, 1e-300]] as [number, number][]) {
      const [low, high] = padded(span, true);
      expect(low > 0 && low <= span[0] && high >= span[1] && Number.isFinite(high), `${low} ${high}`).toBe(true);
    }
  });
});
