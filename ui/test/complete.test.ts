import { describe, expect, it } from "vitest";
import { complete, written } from "../src/table/complete";

const NAMES = { config: ["lr", "opt.name", "my key"], summary: ["best"], metrics: ["train/loss", "val/acc"], left_out: 0 };

/** The caret stands at |. */
function offered(text: string): string[] {
  const caret = text.indexOf("|");
  return complete(text.replace("|", ""), caret, NAMES, 50)?.options ?? [];
}

describe("completion", () => {
  it("offers names by their beginning, then by a part", () => {
    expect(offered("con|")).toEqual(["config.lr", "config.opt.name", "`config.my key`"]);
    expect(offered("loss|")).toEqual(["train/loss"]);
    expect(offered("config.lr < 1 and va|")).toEqual(["val/acc"]);
  });

  it("offers what a metric has", () => {
    expect(offered("val/acc.|")).toEqual(["val/acc.last", "val/acc.min", "val/acc.max", "val/acc.count"]);
    expect(offered("val/acc.m|")).toEqual(["val/acc.min", "val/acc.max"]);
  });

  it("offers comparisons after a name, states after state, words after a value", () => {
    expect(offered("config.lr |")).toContain("<=");
    expect(offered("state == |")).toEqual(['"running"', '"finished"', '"failed"', '"crashed"']);
    expect(offered("config.lr < 1e-3 |")).toEqual(["and", "or"]);
    expect(offered('name == "x" a|')).toEqual(["and"]);
  });

  it("offers nothing inside a text or for a value", () => {
    expect(offered('name == "lo|')).toEqual([]);
    expect(offered("config.lr < |")).toEqual([]);
  });

  it("replaces the whole word", () => {
    expect(complete("conf", 2, NAMES)).toMatchObject({ from: 0, to: 4 });
  });

  it("writes odd names in backticks", () => {
    expect(written("val/acc.max")).toBe("val/acc.max");
    expect(written("my key")).toBe("`my key`");
    expect(written("and")).toBe("`and`");
  });
});
