// Where a value of a run has its place on an axis: numbers, times, words, and those that have none, each counted.
import { digits, ticks } from "../chart/ticks";
import { cell, count, moment, number, seconds } from "../parts/words";
import type { Brush } from "../state/address";
import { numberOf } from "../wire/decode";
import type { Value } from "../wire/types";

/** "" for a value that has a place. */
export type Without = "" | "no value" | "NaN" | "+inf" | "−inf" | "≤ 0";

export interface Axis {
  name: string;
  kind: "number" | "words";
  log: boolean;
  low: number;
  high: number;
  /** Of words, in their order. */
  words: string[];
  /** By row: 0 to 1; NaN where it has no place. */
  place: Float64Array;
  /** By row: why it has none. */
  without: Without[];
}

const isNumber = (value: Value | undefined): boolean => typeof value === "number" || (typeof value === "object" && value !== null && !Array.isArray(value) && "$" in value);

function asNumber(value: Value | undefined, name: string): number {
  return name === "started" && typeof value === "string" ? new Date(value).getTime() / 1000 : numberOf(value);
}

function reason(value: number): Without {
  return Number.isNaN(value) ? "NaN" : value > 0 ? "+inf" : "−inf";
}

/** Names in their order: those that hold numbers by those. */
export function inOrder(words: Iterable<string>): string[] {
  return [...new Set(words)].sort((a, b) => a.localeCompare(b, "en", { numeric: true }) || (a < b ? -1 : 1));
}

/** Whether numbers are easier to tell apart by their size. */
export function spansDecades(values: Iterable<number>): boolean {
  let [low, high] = [Infinity, 0];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value <= 0) return false;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return high / low >= 100;
}

/**
 * An axis over the values of all rows.
 *
 * @param log as asked for; null: where the numbers span decades.
 */
export function axisOf(name: string, values: (Value | undefined)[], log: boolean | null): Axis {
  const given = values.map((one) => one ?? null);
  const words = given.some((one) => one !== null && !isNumber(one) && !(name === "started" && typeof one === "string"));
  const place = new Float64Array(values.length).fill(NaN);
  const without: Without[] = given.map(() => "");
  if (words) {
    const texts = given.map((one) => (one === null ? null : cell(one, name)));
    const known = inOrder(texts.filter((one) => one !== null));
    const at = new Map(known.map((text, index) => [text, (index + 0.5) / known.length]));
    texts.forEach((text, row) => {
      if (text === null) without[row] = "no value";
      else place[row] = at.get(text) ?? NaN;
    });
    return { name, kind: "words", log: false, low: 0, high: known.length, words: known, place, without };
  }
  const numbers = given.map((one) => asNumber(one, name));
  const isLog = name !== "started" && (log ?? spansDecades(numbers));
  let [low, high] = [Infinity, -Infinity];
  numbers.forEach((value, row) => {
    if (given[row] === null) without[row] = "no value";
    else if (!Number.isFinite(value)) without[row] = reason(value);
    else if (isLog && value <= 0) without[row] = "≤ 0";
    else {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  });
  const axis: Axis = { name, kind: "number", log: isLog, low, high, words: [], place, without };
  if (low <= high) numbers.forEach((value, row) => (without[row] === "" ? (place[row] = toPlace(axis, value)) : 0));
  return axis;
}

export function toPlace(axis: Axis, value: number): number {
  if (axis.low === axis.high) return 0.5;
  const { low, high } = axis;
  if (axis.log) return Math.log(value / low) / Math.log(high / low);
  // Halves: the difference of two large numbers may be too large for one.
  return (value / 2 - low / 2) / (high / 2 - low / 2);
}

export function fromPlace(axis: Axis, place: number): number {
  const { low, high } = axis;
  if (low === high) return low;
  return axis.log ? low * (high / low) ** place : low * (1 - place) + high * place;
}

/** The marks of an axis: where, and what stands there. */
export function marksOf(axis: Axis, most: number): { place: number; text: string }[] {
  if (axis.kind === "words") {
    const every = Math.max(1, Math.ceil(axis.words.length / most));
    return axis.words.map((text, at) => ({ place: (at + 0.5) / axis.words.length, text })).filter((_, at) => at % every === 0);
  }
  if (!(axis.low <= axis.high)) return [];
  if (axis.low === axis.high) return [{ place: 0.5, text: said(axis, axis.low) }];
  if (axis.log) {
    const powers: number[] = [];
    for (let power = Math.ceil(Math.log10(axis.low) - 1e-9); power <= Math.log10(axis.high) + 1e-9; power++) powers.push(10 ** power);
    if (powers.length >= 2) {
      const every = Math.max(1, Math.ceil(powers.length / most));
      return powers.filter((_, at) => at % every === 0).map((value) => ({ place: toPlace(axis, value), text: said(axis, value) }));
    }
  }
  const found = ticks(axis.low, axis.high, most);
  const exact = Math.max(4, digits(found));
  return found.map((value) => ({ place: toPlace(axis, value), text: said(axis, value, exact) }));
}

export function said(axis: Axis, value: number, exact = 4): string {
  if (axis.name === "started") return moment(new Date(value * 1000)).slice(5, 16);
  return axis.name === "duration" ? seconds(value) : number(value, exact);
}

/** How many rows have no place, and why: "3 have no value, 2 are NaN". */
export function leftOut(axis: Axis): string {
  const counts = new Map<Without, number>();
  for (const why of axis.without) if (why !== "") counts.set(why, (counts.get(why) ?? 0) + 1);
  return [...counts].map(([why, times]) => (why === "no value" ? `${count(times)} ${times === 1 ? "has" : "have"} no value` : `${count(times)} ${times === 1 ? "is" : "are"} ${why}`)).join(", ");
}

/** Which rows are in a range. */
export function within(axis: Axis, brush: Brush): (row: number) => boolean {
  if (brush === null) return (row) => axis.without[row] !== "";
  const [from, to] = brush;
  if (axis.kind === "words") {
    const order = (text: string | number, up: boolean) => {
      const at = axis.words.indexOf(String(text));
      if (at >= 0) return at;
      // One that is gone: up to its neighbour in the order.
      const next = inOrder([...axis.words, String(text)]).indexOf(String(text));
      return up ? next : next - 1;
    };
    const [low, high] = [order(from, true), order(to, false)];
    return (row) => {
      const at = Math.round((axis.place[row] ?? NaN) * axis.words.length - 0.5);
      return at >= low && at <= high;
    };
  }
  if (typeof from !== "number" || typeof to !== "number" || !(axis.low <= axis.high)) return () => false;
  if (axis.log && to <= 0) return () => false;
  const slack = 1e-12;
  const low = axis.log && from <= 0 ? -Infinity : axis.low === axis.high ? (from <= axis.low ? -Infinity : Infinity) : toPlace(axis, from);
  const high = axis.low === axis.high ? (to >= axis.low ? Infinity : -Infinity) : toPlace(axis, to);
  return (row) => {
    const at = axis.place[row] ?? NaN;
    return at >= low - slack && at <= high + slack;
  };
}

/** The range that lies between two places of an axis; null where nothing does. */
export function brushOf(axis: Axis, from: number, to: number): Brush | undefined {
  const [low, high] = from < to ? [from, to] : [to, from];
  if (axis.kind === "words") {
    const inside = axis.words.filter((_, at) => (at + 1) / axis.words.length > low && at / axis.words.length < high);
    const [first, last] = [inside[0], inside.at(-1)];
    return first === undefined || last === undefined ? undefined : [first, last];
  }
  if (!(axis.low <= axis.high)) return undefined;
  const round = (value: number) => Number(value.toPrecision(6));
  return [round(fromPlace(axis, Math.max(low, 0))), round(fromPlace(axis, Math.min(high, 1)))];
}

/** Where a range lies on its axis. */
export function placesOf(axis: Axis, brush: Brush): [number, number] | null {
  if (brush === null) return null;
  const [from, to] = brush;
  if (axis.kind === "words") {
    const [low, high] = [axis.words.indexOf(String(from)), axis.words.indexOf(String(to))];
    return low < 0 || high < 0 ? null : [low / axis.words.length, (high + 1) / axis.words.length];
  }
  if (typeof from !== "number" || typeof to !== "number" || !(axis.low < axis.high) || (axis.log && to <= 0)) return null;
  const clamp = (place: number) => Math.min(1, Math.max(0, place));
  return [axis.log && from <= 0 ? 0 : clamp(toPlace(axis, from)), clamp(toPlace(axis, to))];
}
