// Where the values of runs stand on an axis, which have no place there, and what a range keeps.
import { describe, expect, it } from "vitest";
import { axisOf, brushOf, fromPlace, leftOut, marksOf, placesOf, within } from "../src/compare/axis";
import { direction, marks, turned } from "../src/compare/better";

const rows = (count: number) => Array.from({ length: count }, (_, at) => at);

describe("an axis", () => {
  it("counts each value that has no place, and why", () => {
    const axis = axisOf("loss", [1, { $: "NaN" }, null, undefined, { $: "Infinity" }, { $: "-Infinity" }, -1, 1000], true);
    expect(axis.without).toEqual(["", "NaN", "no value", "no value", "+inf", "−inf", "≤ 0", ""]);
    expect(leftOut(axis)).toBe("1 is NaN, 2 have no value, 1 is +inf, 1 is −inf, 1 is ≤ 0");
    expect([...axis.place].map((one) => (Number.isNaN(one) ? null : one))).toEqual([0, null, null, null, null, null, null, 1]);
  });

  it("is of words as soon as one value is a word, numbers in their order", () => {
    const axis = axisOf("config.opt", ["b10", "b9", 2, true, null], null);
    expect(axis.words).toEqual(["2", "b9", "b10", "true"]);
    expect(leftOut(axis)).toBe("1 has no value");
  });

  it("has another text at each of its marks, however close its values are", () => {
    for (const values of [[1.01201, 1.01219], [1000001, 1000009], [0, 1], [-0.70001, -0.7], [3e-9, 3.00001e-9], [1e15, 1e15 + 64]]) {
      const texts = marksOf(axisOf("acc", values, false), 6).map((one) => one.text);
      expect(texts.length).toBeGreaterThan(1);
      expect(new Set(texts).size).toBe(texts.length);
    }
  });

  it("is logarithmic where numbers span decades, and is not where one is not above 0", () => {
    expect(axisOf("lr", [1e-4, 0.1], null).log).toBe(true);
    expect(axisOf("lr", [0, 0.1, 100], null).log).toBe(false);
    expect(axisOf("lr", [1, 2], null).log).toBe(false);
    expect(axisOf("started", ["2026-11-30T09:00:00.000000Z", null], null).kind).toBe("number");
  });

  it("holds the largest numbers, a single one, and none", () => {
    const large = axisOf("x", [-1.7e308, 0, 1.7e308], null);
    expect([...large.place]).toEqual([0, 0.5, 1]);
    expect(fromPlace(large, 0.5)).toBe(0);
    expect([...axisOf("x", [3, 3], null).place]).toEqual([0.5, 0.5]);
    expect(marksOf(axisOf("x", [null, { $: "NaN" }], null), 5)).toEqual([]);
    expect(axisOf("x", [{ $: "9223372036854775807" }], null).low).toBe(2 ** 63);
  });

  it("has marks inside", () => {
    for (const values of [[1e-4, 0.3], [0, 1], [-5, 1e9], [7]]) {
      const axis = axisOf("x", values, null);
      const found = marksOf(axis, 6);
      expect(found.length).toBeGreaterThan(0);
      for (const mark of found) expect(mark.place >= -1e-9 && mark.place <= 1 + 1e-9).toBe(true);
    }
  });
});

describe("a range on an axis", () => {
  it("keeps what is in it, and what it was dragged from", () => {
    const axis = axisOf("lr", [1e-4, 1e-3, 1e-2, 0.1, null], null);
    const brush = brushOf(axis, 0.2, 0.8);
    expect(rows(5).filter(within(axis, brush as [number, number]))).toEqual([1, 2]);
    const places = placesOf(axis, brush as [number, number]) as [number, number];
    expect(places[0]).toBeCloseTo(0.2, 4);
    expect(places[1]).toBeCloseTo(0.8, 4);
    expect(rows(5).filter(within(axis, null))).toEqual([4]);
    expect(rows(5).filter(within(axis, [1e-4, 1e-3]))).toEqual([0, 1]);
  });

  it("keeps words from one to another, also where one is gone", () => {
    const axis = axisOf("opt", ["adam", "lion", "sgd", null], null);
    expect(rows(4).filter(within(axis, ["adam", "lion"]))).toEqual([0, 1]);
    expect(rows(4).filter(within(axis, ["b", "sgd"]))).toEqual([1, 2]);
    expect(brushOf(axis, 0.1, 0.4)).toEqual(["adam", "lion"]);
    expect(rows(4).filter(within(axis, [0, 1]))).toEqual([]);
  });

  it("keeps nothing of an axis without numbers, and all equal ones where they are in it", () => {
    expect(rows(1).filter(within(axisOf("x", [null], null), [0, 1]))).toEqual([]);
    expect(rows(2).filter(within(axisOf("x", [3, 3], null), [2, 4]))).toEqual([0, 1]);
    expect(rows(2).filter(within(axisOf("x", [3, 3], null), [4, 5]))).toEqual([]);
    expect(rows(2).filter(within(axisOf("x", [1, 1000], true), [-5, 0]))).toEqual([]);
  });
});

describe("the best", () => {
  it("is told by the name, or by somebody", () => {
    expect([direction("train/loss", []), direction("val/acc", []), direction("lr", []), direction("glossary", [])]).toEqual([-1, 1, 0, 0]);
    expect(direction("lr", turned("lr", []))).toBe(1);
    expect(direction("train/loss", ["+train/loss"])).toBe(1);
    expect(turned("a", ["+a", "-b"])).toEqual(["-b", "-a"]);
  });

  it("is marked only among finite ones that differ", () => {
    expect(marks([1, 3, NaN, 2, 3], 1)).toEqual(["worst", "best", "", "", "best"]);
    expect(marks([1, 3], -1)).toEqual(["best", "worst"]);
    expect(marks([2, 2], 1)).toEqual(["", ""]);
    expect(marks([1, NaN], 1)).toEqual(["", ""]);
    expect(marks([1, 2], 0)).toEqual(["", ""]);
  });
});
