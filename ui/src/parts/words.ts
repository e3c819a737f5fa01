// Numbers, times and counts as people read them.
import { numberOf } from "../wire/decode";
import type { Value } from "../wire/types";

export function number(value: number, digits = 5): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+inf" : "−inf";
  if (value === 0) return Object.is(value, -0) ? "−0" : "0";
  const size = Math.abs(value);
  const text = size >= 1e6 || size < 1e-4 ? value.toExponential(digits - 1).replace(/\.?0+e/, "e").replace("e+", "e") : plain(value, digits);
  return text.replace("-", "−").replace("e−", "e-");
}

function plain(value: number, digits: number): string {
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return String(Number(value.toPrecision(digits)));
}

export function count(value: number): string {
  return value.toLocaleString("en");
}

/** "1 run", "2,000 runs". */
export function many(value: number, word: string): string {
  return `${count(value)} ${word}${value === 1 ? "" : "s"}`;
}

export function short(value: number): string {
  if (value < 10_000) return count(value);
  const units = ["k", "M", "G"];
  let size = value;
  let unit = "";
  for (const one of units) {
    if (size < 1000) break;
    size /= 1000;
    unit = one;
  }
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${unit}`;
}

/** "1.5 MiB". */
export function bytes(value: number): string {
  if (value < 1024) return many(value, "byte");
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let size = value / 1024;
  let at = 0;
  for (; size >= 999.5 && at < units.length - 1; at++) size /= 1024;
  return `${size < 10 ? size.toFixed(1) : count(Math.round(size))} ${units[at]}`;
}

export function seconds(value: number): string {
  const sign = value < 0 ? "−" : "";
  const size = Math.abs(value);
  if (size > 0 && size < 0.1) return `${sign}${number(size * 1000, 3)} ms`;
  if (size < 60) return `${sign}${size < 10 ? Number(size.toFixed(2)) : Math.round(size)} s`;
  const all = Math.round(size);
  const [hours, minutes] = [Math.floor(all / 3600), Math.floor(all / 60) % 60];
  if (hours === 0) return `${sign}${minutes} min ${all % 60} s`;
  return hours < 48 ? `${sign}${hours} h ${minutes} min` : `${sign}${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const two = (value: number) => String(value).padStart(2, "0");

/** In local time, with the date. */
export function moment(when: Date): string {
  if (Number.isNaN(when.getTime())) return "";
  return `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())} ${two(when.getHours())}:${two(when.getMinutes())}:${two(when.getSeconds())}`;
}

/** Moments on an axis, in seconds since 1970, as short as their distance allows; the date where a day begins. */
export function times(at: (number | null)[]): string[] {
  const known = at.filter((one) => one !== null);
  const step = known.length > 1 ? (known[1] as number) - (known[0] as number) : 1;
  let day = "";
  return at.map((one) => {
    if (one === null) return "";
    const [date, time] = moment(new Date(one * 1000)).split(" ") as [string, string];
    const first = date !== day;
    day = date;
    if (step >= 86_400) return date;
    const short = step >= 60 ? time.slice(0, 5) : time;
    if (step < 1) return `${short}.${String(Math.round(one * 1000) % 1000).padStart(3, "0")}`;
    return first && short === "00:00" ? date : short;
  });
}

/** A cell of the table. */
export function cell(value: Value | undefined, column: string): string {
  if (value === null || value === undefined) return "";
  if (column === "started" && typeof value === "string") return moment(new Date(value));
  if (typeof value === "number") return column === "duration" ? seconds(value) : number(value);
  if (typeof value === "object" && !Array.isArray(value) && "$" in value) {
    const text = String(value.$);
    return /^-?\d+$/.test(text) ? text : number(numberOf(value));
  }
  if (Array.isArray(value)) return value.map((one) => cell(one, "")).join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** The name of an axis with its unit. */
export function axis(x: string | { key: string }): string {
  if (typeof x !== "string") return x.key;
  return { step: "step", time: "time", relative: "time since the start" }[x] ?? x;
}

/** The width of smoothing: "half-life 1,200 steps". */
export function smoothing(smooth: { kind: string; width: number }, x: string | { key: string }): string {
  const word = { ema: "half-life", gaussian: "Gaussian, σ", mean: "mean over" }[smooth.kind] ?? smooth.kind;
  return `${word} ${amount(smooth.width, x)}`;
}

/** A length on the axis. */
export function amount(value: number, x: string | { key: string }): string {
  if (x === "step") return `${number(value)} ${value === 1 ? "step" : "steps"}`;
  return typeof x === "string" ? seconds(value) : `${number(value)} of ${x.key}`;
}

/** What a caught problem says. */
export function messageOf(problem: unknown): string {
  return problem instanceof Error ? problem.message : String(problem);
}
