import { describe, expect, it } from "vitest";
import { DEFAULT, type View, fromAddress, toAddress } from "../src/state/address";

const FULL: View = {
  where: 'config.lr < 1e-3 and "a&b=c#d" in tags',
  sort: "-`my key`.max",
  archived: true,
  columns: ["config.lr", "val/acc.max"],
  shown: { base: "all", top: 10, plus: ["digits/é + ü/%2F", "a~b"], minus: ["x y"] },
  baseline: "digits/cnn-3",
  colourBy: "config.opt.name",
  filter: "^train/.*[+]",
  closed: ["system", ""],
  x: { key: "train/epoch" },
  logX: true,
  logY: true,
  robust: true,
  zoom: [-1.5e-7, 3e12],
  zoomY: { "a~b": [0, 1], "train/loss": [-2, 1e-9] },
  fixedY: [-1, 1],
  smooth: { kind: "gaussian", width: 0.25 },
  group: ["config.lr", "group"],
  spread: "range",
  ranks: "odd",
  card: "train/<b>loss</b>",
  compare: ["digits/cnn-3"],
  open: "digits/é",
  mediaStep: -1200,
  labels: {
    "val/sample": { only: false, names: ["cat", "m: <b>sky</b>", ""], least: 0.45 },
    "a~b": { only: true, names: [], least: 0 },
    more: { only: false, names: [], least: 0.5 },
  },
  tab: "output",
  plot: "parallel",
  better: ["+val/acc", "-<b>loss</b>"],
  dotX: "`config.learning rate`",
  dotY: "val/acc.max",
  dotColour: "state",
  dotLogX: true,
  dotLogY: true,
  axes: ["config.lr", "config.opt.name"],
  axesTurned: ["config.lr"],
  brushes: { "config.lr": [1e-4, 0.1], "config.opt.name": ["adam", "l~ion"], "a,b": null },
};

describe("the address", () => {
  it("is empty for what one sees first", () => {
    expect(toAddress(DEFAULT)).toBe("");
    expect(fromAddress("")).toEqual(DEFAULT);
    expect(fromAddress("#")).toEqual(DEFAULT);
  });

  it("has the whole view, each text as it is", () => {
    expect(fromAddress(`#${toAddress(FULL)}`)).toEqual(FULL);
  });

  it("has each part by itself", () => {
    for (const name of Object.keys(FULL) as (keyof View)[]) {
      const view = { ...structuredClone(DEFAULT), [name]: FULL[name] } as View;
      expect(fromAddress(`#${toAddress(view)}`), name).toEqual(view);
    }
  });

  it("keeps no column and one group of all", () => {
    const view: View = { ...DEFAULT, columns: [], group: [] };
    expect(fromAddress(toAddress(view))).toEqual(view);
  });

  it("takes what somebody broke as the default", () => {
    expect(fromAddress("#zoom=5~1&y=a~b&smooth=ema~-3&runs=many&x=sideways&ranks=7&spread=wide&zoomY=3&%E0%A4")).toEqual(DEFAULT);
    expect(fromAddress("#zoom=0~Infinity").zoom).toBeNull();
  });
});
