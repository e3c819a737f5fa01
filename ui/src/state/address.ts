// The view as the address has it, behind the #: what differs from the default, in words that a person can read.
import type { Smoothing, XAxis } from "../wire/types";

export type Bounds = [number, number];

/** Of an axis, from one value to another, both in: numbers, or words in their order; null: those without a place on it. */
export type Brush = [number, number] | [string, string] | null;

/** Which labels of boxes and masks a card shows: all but the names, or only these; and boxes from which confidence on. */
export interface Labelled {
  only: boolean;
  names: string[];
  least: number;
}

/** Which runs are drawn: the first of the table, all that match or none, with single ones added and taken away. */
export interface Shown {
  base: "top" | "all" | "none";
  top: number;
  plus: string[];
  minus: string[];
}

export interface View {
  where: string;
  sort: string;
  archived: boolean;
  columns: string[];
  shown: Shown;
  baseline: string | null;
  colourBy: string;
  filter: string;
  closed: string[];
  x: XAxis;
  logX: boolean;
  logY: boolean;
  robust: boolean;
  zoom: Bounds | null;
  zoomY: Record<string, Bounds>;
  fixedY: Bounds | null;
  smooth: Smoothing | null;
  group: string[] | null;
  spread: "std" | "stderr" | "range" | "none";
  ranks: null | "all" | "band" | "odd";
  card: string | null;
  compare: string[];
  /** The run whose own page is open. */
  open: string | null;
  /** The step whose media are shown; null: the last, which moves on. */
  mediaStep: number | null;
  /** By card of media. */
  labels: Record<string, Labelled>;
  /** The part of that page; empty: the overview. */
  tab: string;
  /** How runs are compared: "", "side", "scatter" or "parallel". */
  plot: string;
  /** Which way of a value is better, where its name does not say it: "+val/acc", "-loss". */
  better: string[];
  dotX: string;
  dotY: string;
  /** The column that gives points and lines their colours; empty: the run's own. */
  dotColour: string;
  dotLogX: boolean;
  dotLogY: boolean;
  axes: string[];
  /** Axes that are not as their values suggest: linear in place of logarithmic, and the other way. */
  axesTurned: string[];
  brushes: Record<string, Brush>;
}

export const DEFAULT: View = {
  where: "",
  sort: "",
  archived: false,
  columns: ["started", "duration"],
  shown: { base: "top", top: 10, plus: [], minus: [] },
  baseline: null,
  colourBy: "",
  filter: "",
  closed: [],
  x: "step",
  logX: false,
  logY: false,
  robust: false,
  zoom: null,
  zoomY: {},
  fixedY: null,
  smooth: null,
  group: null,
  spread: "std",
  ranks: null,
  card: null,
  compare: [],
  open: null,
  mediaStep: null,
  labels: {},
  tab: "",
  plot: "",
  better: [],
  dotX: "",
  dotY: "",
  dotColour: "",
  dotLogX: false,
  dotLogY: false,
  axes: [],
  axesTurned: [],
  brushes: {},
};

const FLAGS = ["archived", "logX", "logY", "robust", "dotLogX", "dotLogY"] as const;
const TEXTS = ["where", "sort", "colourBy", "filter", "tab", "plot", "dotX", "dotY", "dotColour"] as const;
const OPTIONAL = ["baseline", "card", "open"] as const;
const LISTS = ["closed", "compare", "better", "axes", "axesTurned"] as const;

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

function bounds(text: string | null): Bounds | null {
  const parts = (text ?? "").split("~").map(Number);
  const [low, high] = parts;
  return parts.length === 2 && low !== undefined && high !== undefined && low < high && Number.isFinite(high - low) ? [low, high] : null;
}

/** `["config.lr",0.001,0.1]`: the axis, then from and to; without these, the runs that have no place on it. */
function brush(text: string): [string, Brush] | null {
  try {
    const [name, ...ends] = JSON.parse(text) as unknown[];
    if (typeof name !== "string") return null;
    if (ends.length === 0) return [name, null];
    const kind = typeof ends[0];
    return ends.length === 2 && (kind === "number" || kind === "string") && typeof ends[1] === kind ? [name, ends as [number, number]] : null;
  } catch {
    return null;
  }
}

/** `["val/sample","cat","dog"]`: the card, then names of labels. */
function labels(text: string): [string, string[]] | null {
  try {
    const found = JSON.parse(text) as unknown;
    if (!Array.isArray(found) || found.length === 0 || !found.every((one) => typeof one === "string")) return null;
    return [found[0] as string, found.slice(1) as string[]];
  } catch {
    return null;
  }
}

/** What is said of labels: `hideLabel`, `onlyLabel`, and `least=0.4~val/sample`. */
function labelled(query: URLSearchParams): Record<string, Labelled> {
  const found = new Map<string, Labelled>();
  const of = (card: string) => found.get(card) ?? { only: false, names: [], least: 0 };
  for (const kind of ["hideLabel", "onlyLabel"]) {
    for (const text of query.getAll(kind)) {
      const said = labels(text);
      if (said) found.set(said[0], { only: kind === "onlyLabel", names: said[1], least: 0 });
    }
  }
  for (const text of query.getAll("least")) {
    const [least, ...card] = text.split("~");
    if (Number(least) > 0 && Number(least) <= 1) found.set(card.join("~"), { ...of(card.join("~")), least: Number(least) });
  }
  return Object.fromEntries(found);
}

export function toAddress(view: View): string {
  const query = new URLSearchParams();
  for (const name of TEXTS) if (view[name] !== DEFAULT[name]) query.set(name, view[name]);
  for (const name of FLAGS) if (view[name] !== DEFAULT[name]) query.set(name, view[name] ? "1" : "0");
  for (const name of OPTIONAL) if (view[name] !== null) query.set(name, view[name]);
  for (const name of LISTS) for (const one of view[name]) query.append(name, one);
  if (!same(view.columns, DEFAULT.columns)) {
    for (const one of view.columns) query.append("column", one);
    if (view.columns.length === 0) query.append("column", "");
  }
  const { base, top, plus, minus } = view.shown;
  if (base !== "top" || top !== DEFAULT.shown.top) query.set("runs", base === "top" ? String(top) : base);
  for (const run of plus) query.append("show", run);
  for (const run of minus) query.append("hide", run);
  if (view.x !== "step") query.set("x", typeof view.x === "string" ? view.x : `key:${view.x.key}`);
  if (view.zoom) query.set("zoom", view.zoom.join("~"));
  if (view.fixedY) query.set("y", view.fixedY.join("~"));
  for (const [key, span] of Object.entries(view.zoomY)) query.append("zoomY", `${span.join("~")}~${key}`);
  for (const [name, one] of Object.entries(view.brushes)) query.append("brush", JSON.stringify([name, ...(one ?? [])]));
  if (view.smooth) query.set("smooth", `${view.smooth.kind}~${view.smooth.width}`);
  if (view.group) {
    for (const one of view.group) query.append("group", one);
    if (view.group.length === 0) query.append("group", "");
  }
  if (view.spread !== DEFAULT.spread) query.set("spread", view.spread);
  if (view.ranks) query.set("ranks", view.ranks);
  if (view.mediaStep !== null) query.set("media", String(view.mediaStep));
  for (const [card, { only, names, least }] of Object.entries(view.labels)) {
    if (only || names.length) query.append(only ? "onlyLabel" : "hideLabel", JSON.stringify([card, ...names]));
    if (least > 0) query.append("least", `${least}~${card}`);
  }
  // Spaces as %20 and / as themselves: the address is read and shortened by people and chat programs.
  return query.toString().replaceAll("+", "%20").replaceAll("%2F", "/");
}

export function fromAddress(text: string): View {
  const query = new URLSearchParams(text.replace(/^#/, ""));
  const view: View = structuredClone(DEFAULT);
  for (const name of TEXTS) view[name] = query.get(name) ?? DEFAULT[name];
  for (const name of FLAGS) if (query.has(name)) view[name] = query.get(name) === "1";
  for (const name of OPTIONAL) view[name] = query.get(name);
  for (const name of LISTS) view[name] = query.getAll(name);
  if (query.has("column")) view.columns = query.getAll("column").filter(Boolean);
  const base = query.get("runs");
  if (base === "all" || base === "none") view.shown.base = base;
  else if (base !== null && /^\d{1,4}$/.test(base)) view.shown.top = Number(base);
  view.shown.plus = query.getAll("show");
  view.shown.minus = query.getAll("hide");
  const x = query.get("x");
  if (x === "time" || x === "relative") view.x = x;
  else if (x?.startsWith("key:")) view.x = { key: x.slice(4) };
  view.zoom = bounds(query.get("zoom"));
  view.fixedY = bounds(query.get("y"));
  for (const one of query.getAll("zoomY")) {
    const [low, high, ...key] = one.split("~");
    const span = bounds(`${low}~${high}`);
    if (span) view.zoomY[key.join("~")] = span;
  }
  for (const text of query.getAll("brush")) {
    const found = brush(text);
    if (found) view.brushes[found[0]] = found[1];
  }
  const [kind, width] = (query.get("smooth") ?? "").split("~");
  if ((kind === "ema" || kind === "gaussian" || kind === "mean") && Number(width) > 0) view.smooth = { kind, width: Number(width) };
  if (query.has("group")) view.group = query.getAll("group").filter(Boolean);
  const spread = query.get("spread");
  if (spread === "stderr" || spread === "range" || spread === "none") view.spread = spread;
  const ranks = query.get("ranks");
  if (ranks === "all" || ranks === "band" || ranks === "odd") view.ranks = ranks;
  if (/^-?\d{1,15}$/.test(query.get("media") ?? "")) view.mediaStep = Number(query.get("media"));
  view.labels = labelled(query);
  return view;
}
