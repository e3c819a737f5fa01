import { describe, expect, it } from "vitest";
import { byValue, hash, nth, ofRun } from "../src/chart/palette";
import { cell, number, seconds, short, smoothing, times } from "../src/parts/words";

describe("numbers in words", () => {
  it("are short, and say what is no number", () => {
    expect([0, -0, 12345, 0.1, 1 / 3, -2.5, 1e-9, 1.5e12, NaN, Infinity, -Infinity].map((value) => number(value))).toEqual([
      "0", "−0", "12,345", "0.1", "0.33333", "−2.5", "1e-9", "1.5e12", "NaN", "+inf", "−inf",
    ]);
    expect([999, 12_345, 1_200_000].map(short)).toEqual(["999", "12 k", "1.2 M"]);
    expect([0.001953125, 0.5, 59, 61, 7300, 200_000].map(seconds)).toEqual(["1.95 ms", "0.5 s", "59 s", "1 min 1 s", "2 h 1 min", "2 d 7 h"]);
  });

  it("say the width of smoothing", () => {
    expect(smoothing({ kind: "ema", width: 1200 }, "step")).toBe("half-life 1,200 steps");
    expect(smoothing({ kind: "mean", width: 90 }, "relative")).toBe("mean over 1 min 30 s");
  });

  it("are times on an axis, as short as their distance allows", () => {
    const at = new Date(2026, 10, 30, 23, 0, 0).getTime() / 1000;
    expect(times([at, at + 1800, at + 3600, at + 5400])).toEqual(["23:00", "23:30", "2026-12-01", "00:30"]);
    expect(times([at, at + 5])).toEqual(["23:00:00", "23:00:05"]);
    expect(times([at, at + 0.25, null])).toEqual(["23:00:00.000", "23:00:00.250", ""]);
    expect(times([at, at + 86_400])).toEqual(["2026-11-30", "2026-12-01"]);
  });

  it("fill a cell", () => {
    expect(cell({ $: "9223372036854775807" }, "x")).toBe("9223372036854775807");
    expect(cell({ $: "NaN" }, "x")).toBe("NaN");
    expect(cell(["a", "b"], "tags")).toBe("a, b");
    expect(cell(null, "x")).toBe("");
    expect(cell("<b>", "x")).toBe("<b>");
  });
});

describe("colours", () => {
  it("are a run's own, whatever else is shown", () => {
    expect(ofRun("a", 3, false)).toBe(nth(3, false));
    expect(ofRun("a", null, false)).toBe(nth(hash("a"), false));
    expect(new Set(Array.from({ length: 12 }, (_, at) => nth(at, true))).size).toBe(12);
  });

  it("follow a value: one each, or along a ramp", () => {
    const few = byValue(["b", "a", "b"], false);
    expect(few.get('"a"')).toBe(nth(0, false));
    expect(few.get('"b"')).toBe(nth(1, false));
    const ramp = byValue([7, 1, 2, 3, 4, 5, 6], false);
    expect(ramp.get("1")).toBe("#46327e");
    expect(ramp.get("7")).toBe("#a0da39");
  });
});
