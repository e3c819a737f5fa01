import { describe, expect, it } from "vitest";
import { barsOf, read, words } from "../src/media/plotly";

const packed = (numbers: number[], shape?: string) => ({ dtype: "f8", bdata: btoa(String.fromCharCode(...new Uint8Array(Float64Array.from(numbers).buffer))), ...(shape ? { shape } : {}) });

describe("a plotly figure", () => {
  it("is read with numbers in lists, packed, or left to be counted", () => {
    const figure = read({ data: [{ type: "scatter", x: packed([1, 2, 4]), y: [3, null, "5"] }, { y: packed([7, 8]), mode: "markers" }], layout: { title: { text: "a <b>title</b>" } } });
    expect(figure.title).toBe("a title");
    expect(figure.traces.map((one) => [[...one.x], [...one.y], one.lines, one.markers])).toEqual([
      [[1, 2, 4], [3, NaN, 5], true, false],
      [[0, 1], [7, 8], false, true],
    ]);
    expect(figure.left).toEqual([]);
  });

  it("has axes of categories and dates where its values are such", () => {
    const bars = read({ data: [{ type: "bar", x: ["b", "a"], y: [1, 2] }, { type: "bar", x: ["a", "c"], y: [3, 4] }] });
    expect([bars.x.kind, bars.x.categories, bars.y.kind]).toEqual(["category", ["b", "a", "c"], "linear"]);
    expect([...(bars.traces[1]?.x ?? [])]).toEqual([1, 2]);
    const dates = read({ data: [{ x: ["2026-01-01", "2026-01-02T12:00", "2026-01-03 00:00:00.5"], y: [1, 2, 3] }], layout: { yaxis: { type: "log" } } });
    expect([dates.x.kind, dates.y.kind]).toEqual(["date", "log"]);
    expect([...(dates.traces[0]?.x ?? [])]).toEqual([Date.UTC(2026, 0, 1), Date.UTC(2026, 0, 2, 12), Date.UTC(2026, 0, 3, 0, 0, 0, 500)]);
  });

  it("says what is not drawn", () => {
    const figure = read({
      data: [{ type: "surface", z: [[1]] }, { type: "surface" }, { type: "scatter", y: [1], xaxis: "x2" }, { type: "heatmap", z: [[1, 2], [3]] }, { y: [1], error_y: {}, marker: { color: [1], size: packed([1]) }, fill: "tozeroy" }, { y: [9], visible: "legendonly" }],
      layout: { shapes: [{}], annotations: [] },
    });
    expect(figure.traces.length).toBe(1);
    expect(figure.left).toEqual(["a trace of the type “surface” (2)", "a trace on axes of its own", "a heat map without a grid", "colours by value", "sizes by value", "error bars", "filled areas", "shapes"]);
  });

  it("has bars beside each other or on each other, negative ones below", () => {
    const data = [{ type: "bar", x: [0, 1], y: [3, -1] }, { type: "bar", x: [0, 1], y: [1, -2] }];
    const beside = [...barsOf(read({ data })).values()].map((bars) => bars.map((one) => [one.from, one.to].map((at) => Number(at.toFixed(3)))));
    expect(beside).toEqual([[[-0.4, 0], [0.6, 1]], [[0, 0.4], [1, 1.4]]]);
    const stacked = [...barsOf(read({ data, layout: { barmode: "stack" } })).values()].map((bars) => bars.map((one) => [one.base, one.top]));
    expect(stacked).toEqual([[[0, 3], [0, -1]], [[3, 4], [-1, -3]]]);
  });

  it("has the grid of a heat map, packed or in rows", () => {
    for (const z of [[[1, 2, 3], [4, 5, 6]], packed([1, 2, 3, 4, 5, 6], "2, 3")]) {
      const [heat] = read({ data: [{ type: "heatmap", z }] }).traces;
      expect([heat?.kind, [...(heat?.z ?? [])], [...(heat?.x ?? [])], [...(heat?.y ?? [])]]).toEqual(["heat", [1, 2, 3, 4, 5, 6], [0, 1, 2], [0, 1]]);
    }
  });

  it("is nothing where the JSON is no figure", () => {
    for (const odd of [null, 3, "x", [], {}, { data: 3 }, { data: [null, 3, { y: { bdata: "?", dtype: "f8" } }, { y: { bdata: 3, dtype: "constructor" } }, { type: { a: 1 } }] }, { data: [{ y: [1], name: { text: 3 } }], layout: { xaxis: 3, title: [] } }])
      expect(() => read(odd)).not.toThrow();
    expect(words("<img src=x onerror=alert(1)>hi<br>there")).toBe("hi there");
  });
});
