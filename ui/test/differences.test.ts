import { describe, expect, it } from "vitest";
import { differences } from "../src/table/differences";

describe("what differs", () => {
  it("is told by the path of nested values, missing ones too", () => {
    const found = differences([
      { lr: 0.1, opt: { name: "adam", eps: 1 }, seed: 1 },
      { lr: 0.1, opt: { name: "sgd", eps: 1 }, big: { $: "9223372036854775807" } },
    ]);
    expect(found.rows).toEqual([
      { name: "big", values: [undefined, { $: "9223372036854775807" }] },
      { name: "opt.name", values: ["adam", "sgd"] },
      { name: "seed", values: [1, undefined] },
    ]);
    expect(found.same).toBe(2);
  });
});
