// What the server's answers hold, as docs/viewer-api.md says it.

/** A number that JSON does not hold is written `{"$": "NaN"}`. */
export type Value = null | boolean | number | string | { $: string } | Value[] | { [name: string]: Value };

export interface Failure {
  error: string;
  remedy?: string;
  at?: number;
}

export interface RunRow {
  run: string;
  project: string;
  name: string;
  state: string;
  started: string | null;
  nth?: number | null;
  stalled: number | null;
  /** Crashed, and nobody saw how. */
  gone?: boolean;
  archived: boolean;
  colour: string | null;
  problem: string;
  values: Value[];
}

export interface RunsAnswer {
  all: number;
  total: number;
  offset: number;
  columns: string[];
  /** Of runs in an object store: when it was last seen, and why not since; null: they are in a directory. */
  store?: { seen: string | null; problem: string } | null;
  rows: RunRow[];
}

export interface ColumnsAnswer {
  config: string[];
  summary: string[];
  metrics: string[];
  left_out: number;
}

export interface Problem extends Failure {
  run: string;
}

export interface EditAnswer {
  edited: string[];
  problems: Problem[];
}

/** A view under a name; `problem` says why it cannot be opened. */
export interface KeptView {
  name: string;
  view: string;
  saved: string;
  problem: string;
}

export interface ViewsAnswer {
  views: KeptView[];
  left_out: number;
}

export interface KeysAnswer {
  keys: string[];
  sections: string[];
  kinds: string[];
  runs: number[];
  points: number[];
  problems?: Problem[];
}

export type XAxis = "step" | "time" | "relative" | { key: string };

export interface Smoothing {
  kind: "ema" | "gaussian" | "mean";
  width: number;
}

export interface CardAsk {
  id: string;
  keys: string[];
  x: XAxis;
  range: [number | null, number | null] | null;
  /** Whether the nearest points beyond the range come too. */
  edges: boolean;
  width: number;
  group: string[] | null;
  ranks: null | "all" | "band" | "odd" | number[];
  smooth: Smoothing | null;
  limit: number;
}

interface ColumnSpan {
  dtype: "<f8" | "<f4" | "<u4" | "|u1" | "const";
  offset?: number;
  length?: number;
  value?: number | { $: string };
}

export interface SeriesHead {
  run?: string;
  group?: Value[];
  runs?: string[];
  size?: number;
  key: string;
  rank?: number | null;
  kind: "points" | "bins" | "group" | "band";
  rows: number;
  points: number;
  attempts?: number;
  ended?: boolean;
  smoothed?: string | null;
  /** How many rows at the begin and at the end lie beyond the range: none or one. */
  beyond?: [number, number];
  columns: Record<string, ColumnSpan>;
}

export interface CardHead {
  id: string;
  bin?: number | null;
  lines?: number;
  points?: number;
  monotonic?: boolean;
  left_out?: { lines: number; runs: number; why: string };
  series?: SeriesHead[];
  problems?: Problem[];
  error?: string;
  remedy?: string;
}

export type Column = Float64Array | Float32Array | Uint32Array | Uint8Array;

/** A series as it is drawn: its head, and its columns as arrays of `rows` numbers. */
export interface Series extends Omit<SeriesHead, "columns"> {
  columns: Record<string, Column>;
}

export interface Card extends Omit<CardHead, "series"> {
  /** Finer bins are not in the file that is looked at. */
  coarse?: boolean;
  series: Series[];
}

export interface News {
  id?: string;
  list?: boolean;
  reset?: boolean;
  runs?: Record<string, { keys: string[] | null; step?: number | null; state?: string }>;
}

export interface Entry {
  step: number | null;
  time: string | null;
  rank: number;
  key: string;
  value: Value;
  /** Its place among all of its kind and rank, from 0. */
  number?: number;
}

export interface RecordsAnswer {
  records: Entry[];
  next: string | null;
  total: number;
}

export interface ServerAnswer {
  version: string;
  dir: string;
  edit: boolean;
}
