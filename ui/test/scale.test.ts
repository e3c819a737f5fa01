import { describe, expect, it } from "vitest";
import { placer } from "../src/chart/paint";
import { ranges } from "../src/chart/ranges";
import { drawn } from "../src/chart/lines";
import { extent, outside, padded, robust } from "../src/chart/scale";
import { DEFAULT } from "../src/state/address";
import { points } from "./made";

const polyline = (values: number[]) => ({ x: Float64Array.from(values, (_, at) => at), y: Float64Array.from(values), length: values.length });
const look = () => ({ colour: "#000000", label: "a" });
const card = (values: [number, number][]) => drawn({ id: "k", series: [points(values)] }, look, "std");

describe("the range of an axis", () => {
  it("passes over NaN and infinities, and over ≤ 0 on a log axis", () => {
    const values = [Float64Array.of(NaN, -3, Infinity, 0, 5, 2)];
    expect(extent(values)).toEqual([-3, 5]);
    expect(extent(values, true)).toEqual([2, 5]);
    expect(extent([Float64Array.of(NaN)])).toBeNull();
  });

  it("is robust against outliers, which are counted", () => {
    const values = Array.from({ length: 1000 }, (_, at) => Math.sin(at));
    values[500] = 1e9;
    values[501] = -1e9;
    const one = polyline(values);
    const span = padded(robust([one]) as [number, number]);
    expect(span[1]).toBeLessThan(1.2);
    const told = outside([one], span, false);
    expect(told).toEqual({ above: 1, below: 1, nonPositive: 0 });
  });

  it("counts what a log axis cannot show", () => {
    expect(outside([polyline([1, 0, -2, 3])], [0.5, 5], true)).toEqual({ above: 0, below: 0, nonPositive: 2 });
  });

  it("has room for a single value, and for the whole range of a double", () => {
    expect(padded([2, 2])).toEqual([1.8, 2.2]);
    expect(padded([0, 0])).toEqual([-1, 1]);
    const [low, high] = padded([-1.7e308, 1.7e308]);
    expect(Number.isFinite(low) && Number.isFinite(high) && low < high).toBe(true);
  });

  it("is the zoom first, then what is fixed, then the values inside", () => {
    const all = card([[0, 0], [10, 100], [20, 1], [30, 2]]);
    const view = { ...DEFAULT };
    expect(ranges(all, "k", view).x).toEqual([0, 30]);
    expect(ranges(all, "k", { ...view, zoom: [15, 30] }).y[1]).toBeLessThan(3);
    expect(ranges(all, "k", { ...view, fixedY: [-5, 5] }).y).toEqual([-5, 5]);
    expect(ranges(all, "k", { ...view, fixedY: [-5, 5], zoomY: { k: [1, 2] } }).y).toEqual([1, 2]);
    expect(ranges(all, "other", { ...view, zoomY: { k: [1, 2] } }).y[1]).toBeGreaterThan(100);
    expect(ranges(all, "k", { ...view, fixedY: [-5, 5] }).above).toBe(1);
  });

  it("holds a line that only passes through a zoom, and none of what is beyond it", () => {
    const all = card([[0, 0], [10, 100], [20, 100]]);
    const [low, high] = ranges(all, "k", { ...DEFAULT, zoom: [4, 6] }).y;
    expect(low).toBeCloseTo(39, 9);
    expect(high).toBeCloseTo(61, 9);
    expect(ranges(all, "k", { ...DEFAULT, zoom: [4, 6] }).above).toBe(0);
    const one = ranges(all, "k", { ...DEFAULT, zoom: [8, 12] });
    expect(one.y[0]).toBeLessThan(80);
    expect(one.y[1]).toBeGreaterThan(100);
  });

  it("of a log axis never reaches 0", () => {
    const all = card([[0, 1], [1, -1], [100, 1000]]);
    const found = ranges(all, "k", { ...DEFAULT, logX: true, logY: true, fixedY: [-5, 5], zoom: [0, 50] });
    expect(found.x[0]).toBeGreaterThan(0);
    expect(found.y[0]).toBeGreaterThan(0);
    expect(found.nonPositiveX).toBe(1);
  });
});

describe("a place on the canvas", () => {
  it("is exact at both ends, linear and logarithmic, and for the whole range of a double", () => {
    for (const [low, high, log] of [[0, 10, false], [1e-9, 1e9, true], [-1.7e308, 1.7e308, false]] as const) {
      const place = placer(low, high, 50, 400, log);
      expect(place(low)).toBeCloseTo(50, 6);
      expect(place(high)).toBeCloseTo(450, 6);
    }
  });

  it("is none for ≤ 0 on a log axis", () => {
    expect(placer(1, 10, 0, 100, true)(0)).toBeNaN();
    expect(placer(1, 10, 0, 100, true)(-1)).toBeNaN();
  });
});
