// The colour of each run in a picture of many: its own, or by the value of a column.
import { colourOf } from "../cards/look";
import * as palette from "../chart/palette";
import { dark } from "../parts/theme";
import { cell } from "../parts/words";
import { numberOf } from "../wire/decode";
import type { RunRow, Value } from "../wire/types";

export interface Colours {
  of: string[];
  /** What a colour stands for: each of a few values, or the ends of a ramp. */
  legend: { text: string; colour: string }[];
  more: number;
}

const [MOST, GREY] = [12, "#8a93a0"];

export function coloursOf(rows: RunRow[], values: (Value | undefined)[] | null, name: string): Colours {
  if (values === null) return { of: rows.map((row) => colourOf(row.run)), legend: [], more: 0 };
  // A run without the value, or with one that is no number, is grey, so that numbers lie along a ramp.
  const given = values.map((one) => (one === undefined || (typeof one === "object" && one !== null && "$" in one && !Number.isFinite(numberOf(one))) ? null : one));
  const has = given.filter((one) => one !== null);
  const known = palette.byValue(has, dark.value);
  const every = [...known].map(([text, colour]) => ({ value: JSON.parse(text) as Value, colour }));
  const ramp = every.length > MOST && every.every((one) => typeof one.value === "number");
  const chosen = ramp ? [every[0], every[Math.floor(every.length / 2)], every.at(-1)].filter((one) => one !== undefined) : every.slice(0, MOST);
  return {
    of: given.map((one) => (one === null ? GREY : (known.get(JSON.stringify(one)) ?? GREY))),
    legend: [...chosen.map((one) => ({ text: cell(one.value, name), colour: one.colour })), ...(has.length < given.length ? [{ text: "no value", colour: GREY }] : [])],
    more: ramp ? 0 : Math.max(0, every.length - MOST),
  };
}
