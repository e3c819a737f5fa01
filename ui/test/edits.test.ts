import { expect, test } from "vitest";
import { tagChange, tagsOf } from "../src/edit/tags";

test("tags stand between commas, each once", () => {
  expect(tagsOf(" a, b ,a,, c d")).toEqual(["a", "b", "c d"]);
  expect(tagsOf("")).toEqual([]);
});

test("a change of tags is what was added and what was taken away", () => {
  expect(tagChange(["a", "b"], ["b", "c"])).toEqual({ add: ["c"], remove: ["a"] });
  expect(tagChange(["a"], ["a"])).toBeNull();
  expect(tagChange([], ["x"])).toEqual({ add: ["x"], remove: [] });
});
