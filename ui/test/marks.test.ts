import { describe, expect, it } from "vitest";
import { inWords, marks, totals } from "../src/chart/marks";
import { bins, points } from "./made";

describe("marks", () => {
  it("stand at each point that is no number or infinite", () => {
    const found = marks(points([[0, 1], [3, NaN], [5, Infinity], [7, -Infinity]]));
    expect(found.map((one) => one.x)).toEqual([3, 5, 7]);
    expect(totals(found)).toEqual({ nan: 1, pinf: 1, ninf: 1 });
  });

  it("stand in the middle of a bin, with its counts", () => {
    const one = { first: [0, 1], last: [10, 1], min: [0, 1], max: [0, 1] } satisfies Parameters<typeof bins>[0][0];
    expect(marks(bins([one, { ...one, nan: 3, ninf: 2 }]))).toEqual([{ x: 5, nan: 3, pinf: 0, ninf: 2 }]);
  });

  it("are told in words", () => {
    expect(inWords({ nan: 1200, pinf: 0, ninf: 1 })).toBe("1,200 NaN, 1 −inf");
    expect(inWords({ nan: 0, pinf: 0, ninf: 0 })).toBe("");
  });
});
