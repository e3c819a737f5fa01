// Where the window of very many rows is after each scroll.
import { expect, test } from "vitest";
import { moved } from "../src/parts/fixedrows";

test("few rows stand where the bar says", () => {
  expect(moved(0, 0, 500, 400, 10_000, 10_000)).toBe(500);
  expect(moved(0, 0, 9600, 400, 10_000, 10_000)).toBe(9600);
});

test("of very many, small steps are steps, large ones go where the bar says, and both ends are reached", () => {
  const [view, all, box] = [400, 30_000_000, 15_000_000];
  expect(moved(1000, 500, 600, view, all, box)).toBe(1100);
  expect(moved(1000, 500, 7_499_800, view, all, box)).toBeCloseTo(14_999_800, -2);
  expect(moved(1000, 500, 0, view, all, box)).toBe(0);
  expect(moved(1000, 14_999_000, 14_999_600, view, all, box)).toBe(all - view);
});
