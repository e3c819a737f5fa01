import { expect, test } from "vitest";
import { chosen, cut, sorted } from "../src/wire/file";
import type { RunRow, Series } from "../src/wire/types";

const row = (name: string, ...values: RunRow["values"]) => ({ run: name, name, project: "p", state: "", started: null, stalled: null, archived: false, colour: null, problem: "", values }) as RunRow;

test("rows are sorted by any column, those without a value last, both ways", () => {
  const rows = [row("a", 2), row("b", null), row("c", { $: "NaN" }), row("d", -1), row("e", { $: "Infinity" })];
  const names = (sort: string) => sorted(rows, ["lr"], sort).map((one) => one.name).join("");
  expect(names("lr")).toBe("daebc");
  expect(names("-lr")).toBe("eadbc");
  expect(names("-name")).toBe("edcba");
  expect(names("other")).toBe("abcde");
});

test("the coarsest level that is fine enough is drawn, else the finest", () => {
  const level = (width: number, range: [number, number] | null = null) => ({ key: "k", range, width, offset: width, length: 1 });
  const all = [level(450), level(4096), level(450, [100, 200])];
  const of = (range: [number, number] | null) => chosen(all, "k", range, 450, [0, 1000]);
  expect(of(null)).toBe(all[0]);
  expect(of([0, 500])).toBe(all[1]);
  expect(of([100, 200])).toBe(all[1]);
  expect(of([150, 151])?.width).toBe(450);
  expect(chosen(all, "none", null, 450, null)).toBeNull();
});

test("a series is cut to a range with a row on each side", () => {
  const made = { key: "k", kind: "points", rows: 5, points: 5, columns: { x: Float64Array.of(0, 1, 2, 3, 4), y: Float64Array.of(5, 6, 7, 8, 9) } } as unknown as Series;
  const found = cut(made, 2, 3, 0);
  expect([...(found.columns["x"] ?? [])]).toEqual([1, 2, 3, 4]);
  expect([found.rows, found.points]).toEqual([4, 2]);
  expect(cut(made, 10, 20, 0).points).toBe(0);
});
