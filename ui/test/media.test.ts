import { describe, expect, it } from "vitest";
import { columnAt, ramp, shares } from "../src/media/heatmap";
import { exact } from "../src/media/exact";
import { inflated, unfiltered } from "../src/media/grey";
import { inRows, mediaKeys, span } from "../src/media/keys";
import { boxesOf, className, visible } from "../src/media/labels";
import type { Item } from "../src/media/types";

const answer = (keys: Record<string, string>) => ({
  keys: Object.keys(keys),
  sections: Object.keys(keys).map((key) => (key.includes("/") ? (key.split("/")[0] as string) : "")),
  kinds: Object.values(keys),
  runs: Object.keys(keys).map(() => 2),
  points: [],
});

describe("the keys that hold media", () => {
  it("are one card for a logged list, in the section of its name", () => {
    const found = mediaKeys(answer({ loss: "number", "more/0": "image", "more/1": "image", "val/more/0": "image", "val/x": "text" }), () => true);
    expect([...found]).toEqual([
      ["", [{ name: "more", kind: "image", tiles: 4 }]],
      ["val", [{ name: "val/more", kind: "image", tiles: 2 }, { name: "val/x", kind: "text", tiles: 2 }]],
    ]);
  });

  it("are cards of their own beside a key that has the list's name", () => {
    const found = mediaKeys(answer({ more: "image", "more/0": "image" }), () => true);
    expect([...found.values()].flat().map((one) => one.name)).toEqual(["more", "more/0"]);
  });

  it("have as much room as their tiles need, row by row", () => {
    const key = (name: string, kind: string, tiles: number) => ({ name, kind, tiles });
    expect(span(key("a", "image", 1), 3)).toBe(1);
    expect(span(key("a", "image", 40), 3)).toBe(3);
    expect(span(key("a", "table", 2), 3)).toBe(2);
    const rows = inRows([key("a", "image", 1), key("b", "image", 4), key("c", "image", 9)], 3);
    expect(rows.map((row) => row.map((one) => [one.key.name, one.span]))).toEqual([[["a", 1], ["b", 2]], [["c", 3]]]);
  });
});

describe("boxes", () => {
  const item = (boxes: unknown) => ({ meta: { boxes } }) as unknown as Item;

  it("are those that are boxes", () => {
    const given = [{ box: [1, 2, 3, 4], label: "a", score: 0.5 }, { box: [1, 2, 3] }, { box: "1234" }, null, 7, { box: [1, 2, 3, { $: "NaN" }] }, { box: [0, 0, 1, 1], label: { toString: 1 } }];
    expect(boxesOf(item(given))).toEqual([{ box: [1, 2, 3, 4], label: "a", score: 0.5 }, { box: [0, 0, 1, 1], label: "", score: null }]);
    expect(boxesOf(item("x"))).toEqual([]);
    expect(boxesOf(item(null))).toEqual([]);
  });

  it("are hidden by their label and below a confidence; without one they stay", () => {
    const boxes = boxesOf(item([{ box: [0, 0, 1, 1], label: "a", score: 0.2 }, { box: [0, 0, 1, 1], label: "b", score: 0.9 }, { box: [0, 0, 1, 1], label: "c" }]));
    expect(visible(boxes, { only: false, names: ["b"], least: 0.1 }).map((one) => one.label)).toEqual(["a", "c"]);
    expect(visible(boxes, { only: false, names: [], least: 0.5 }).map((one) => one.label)).toEqual(["b", "c"]);
    expect(visible(boxes, { only: true, names: ["c"], least: 0 }).map((one) => one.label)).toEqual(["c"]);
  });

  it("of a mask are called by the class's name or number", () => {
    expect(className("m", { classes: { 3: "sky" } }, 3)).toBe("m: sky");
    expect(className("m", { classes: "3" }, 3)).toBe("m: class 3");
  });
});

describe("a grey PNG", () => {
  it("has its numbers whatever the filter of a line is", () => {
    // Two lines of each filter, 8 bits; then 16 bits.
    const lines = [[0, 5, 6, 7], [1, 5, 1, 1], [2, 0, 0, 0], [3, 3, 1, 1], [4, 0, 1, 1]];
    expect([...unfiltered(Uint8Array.from(lines.flat()), 3, 5, 1)]).toEqual([5, 6, 7, 5, 6, 7, 5, 6, 7, 5, 6, 7, 5, 7, 8]);
    expect([...unfiltered(Uint8Array.from([0, 1, 2, 255, 255]), 2, 1, 2)]).toEqual([258, 65535]);
  });

  it("unfolds into no more than it says", async () => {
    const packed = new Uint8Array(await new Response(new Blob([new Uint8Array(1 << 16)]).stream().pipeThrough(new CompressionStream("deflate"))).arrayBuffer());
    expect((await inflated([packed], 100)).length).toBe(100);
    await expect(inflated([packed], (1 << 16) + 1)).rejects.toThrow();
    await expect(inflated([packed.slice(0, 10)], 100)).rejects.toThrow();
  });
});

describe("a heat map", () => {
  it("shows parts of each column's values", () => {
    expect([...shares([1, 3, 0, 0, 2, 2], 2)]).toEqual([0.25, 0.75, 0, 0, 0.5, 0.5]);
  });

  it("finds the column of a step", () => {
    const one = { first: [0, 10, 20] };
    expect([-1, 0, 9, 10, 25].map((step) => columnAt(one, step))).toEqual([-1, 0, 0, 1, 2]);
  });

  it("has colours that go one way, on light and on dark ground", () => {
    const sums = (isDark: boolean) => [...ramp(isDark)].map((pixel) => (pixel & 255) + ((pixel >> 8) & 255) + ((pixel >> 16) & 255));
    for (const isDark of [false, true]) {
      const found = sums(isDark);
      expect(found.slice(1).every((sum, at) => (isDark ? sum >= (found[at] as number) : sum <= (found[at] as number)))).toBe(true);
    }
  });
});

describe("a cell of a table", () => {
  it("is the number as it was logged", () => {
    expect(exact(0.1, "double")).toBe("0.1");
    expect(exact(1 / 3, "double")).toBe("0.3333333333333333");
    expect(exact(Math.fround(0.1), "float")).toBe("0.1");
    expect(exact({ $: "9223372036854775807" }, "int64")).toBe("9223372036854775807");
    expect([exact(null, "double"), exact({ $: "NaN" }, "double"), exact(true, "bool")]).toEqual(["", "NaN", "true"]);
  });
});
