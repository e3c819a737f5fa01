// The rows of a tree of values: what is open, what a search keeps.
import { expect, test } from "vitest";
import { leaves, treeRows } from "../src/run/tree";

const CONFIG = { lr: 0.1, opt: { name: "adam", betas: [0.9, 0.99], more: { eps: { $: "NaN" } } }, empty: {} };
const none = new Set<string>();

test("values are counted, an empty group and a number in text are values", () => {
  expect(leaves(CONFIG)).toBe(5);
});

test("all is open, or groups are closed, and single ones the other way", () => {
  expect(treeRows(CONFIG, none, true, "").map((one) => one.path)).toEqual(["lr", "opt", "opt.name", "opt.betas", "opt.more", "opt.more.eps", "empty"]);
  expect(treeRows(CONFIG, none, false, "").map((one) => one.path)).toEqual(["lr", "opt", "empty"]);
  expect(treeRows(CONFIG, new Set(["opt"]), false, "").map((one) => one.path)).toEqual(["lr", "opt", "opt.name", "opt.betas", "opt.more", "empty"]);
  expect(treeRows(CONFIG, new Set(["opt"]), true, "").map((one) => one.path)).toEqual(["lr", "opt", "empty"]);
});

test("a search opens what holds it, in names and values, and leaves empty groups out", () => {
  expect(treeRows(CONFIG, none, false, "ADAM").map((one) => one.path)).toEqual(["opt", "opt.name"]);
  expect(treeRows(CONFIG, none, false, "nan").map((one) => one.path)).toEqual(["opt", "opt.more", "opt.more.eps"]);
  expect(treeRows(CONFIG, none, false, "none such")).toEqual([]);
});

test("ten thousand values take no time", () => {
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`g${at}`, Object.fromEntries(Array.from({ length: 100 }, (_, in_) => [`k${in_}`, in_]))]));
  const begin = performance.now();
  expect(treeRows(many, none, false, "k99")).toHaveLength(200);
  expect(performance.now() - begin).toBeLessThan(500);
});
