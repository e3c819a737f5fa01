import { describe, expect, it } from "vitest";
import { chosen, toggled } from "../src/state/shown";
import { filtered, sections } from "../src/state/sections";

const TABLE = ["a", "b", "c", "d"];
const top = (count: number) => ({ base: "top" as const, top: count, plus: [], minus: [] });

describe("which runs are drawn", () => {
  it("follows the table, with single ones added and taken away", () => {
    expect(chosen(top(2), TABLE)).toEqual(["a", "b"]);
    expect(chosen({ ...top(2), plus: ["z", "a"], minus: ["b"] }, TABLE)).toEqual(["a", "z"]);
    expect(chosen({ base: "all", top: 2, plus: [], minus: ["c"] }, TABLE)).toEqual(["a", "b", "d"]);
    expect(chosen({ base: "none", top: 2, plus: ["d"], minus: [] }, TABLE)).toEqual(["d"]);
  });

  it("changes by one run at a time, there and back", () => {
    for (const start of [top(2), { ...top(2), base: "all" as const }, { ...top(2), base: "none" as const }])
      for (const run of [...TABLE, "z"]) {
        const was = chosen(start, TABLE);
        const once = toggled(start, run, TABLE);
        expect(chosen(once, TABLE).includes(run)).toBe(!was.includes(run));
        expect(chosen(toggled(once, run, TABLE), TABLE)).toEqual(was);
      }
  });
});

describe("the filter of charts", () => {
  const keys = ["train/loss", "val/loss", "lr (1)"];
  const kept = (filter: string) => keys.filter((_, at) => filtered(keys, filter)(at));

  it("is a regular expression, or a text where it is none", () => {
    expect(kept("^TRAIN")).toEqual(["train/loss"]);
    expect(kept("loss$")).toEqual(["train/loss", "val/loss"]);
    expect(kept("(1")).toEqual(["lr (1)"]);
    expect(kept("")).toEqual(keys);
  });

  it("answers within 50 ms for 10,000 keys", () => {
    const many = Array.from({ length: 10_000 }, (_, at) => `layer.${at}/grad/norm`);
    const answer = { keys: many, sections: many.map((key) => key.split("/")[0] as string), kinds: [], runs: [], points: [] };
    const start = performance.now();
    expect(sections(answer, filtered(many, "9/grad")).length).toBe(1000);
    expect(performance.now() - start).toBeLessThan(50);
  });
});

describe("sections", () => {
  it("stand by name, the nameless first, the machine's last; media is not among them", () => {
    const answer = {
      keys: ["loss", "system/gpu", "train/loss", "val/acc", "val/image"],
      sections: ["", "system", "train", "val", "val"],
      kinds: ["number", "number", "number", "number", "image"],
      runs: [1, 1, 1, 1, 1],
      points: [1, 2, 3, 4, 5],
    };
    const found = sections(answer, () => true);
    expect(found.map((one) => one.name)).toEqual(["", "train", "val", "system"]);
    expect(found[2]?.keys).toEqual(["val/acc"]);
  });
});
