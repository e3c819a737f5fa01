// The data of a file that was handed on, in place of a server: the same answers, as far as the file has them.
import { decode, numberOf } from "./decode";
import type { Card, CardAsk, Column, KeysAnswer, RunRow, RunsAnswer, Series, Value } from "./types";

interface Stored {
  key: string;
  range: [number, number] | null;
  width: number;
  offset: number;
  length: number;
}

export interface Handed {
  title: string;
  made: string;
  version: string;
  view: string;
  runs: RunsAnswer;
  keys: KeysAnswer;
  left_out: string[];
  charts: Stored[];
}

let handed: Handed | null = null;
let bytes: Uint8Array<ArrayBuffer> = new Uint8Array();
const opened = new Map<number, Card>();

/** What the page is a file of; null: there is a server. */
export const inFile = (): Handed | null => handed;

function unpacked(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const made = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) made[at] = binary.charCodeAt(at);
  return made;
}

/** Reads the data that stand in the document, if any do. */
export function open(text: string): Handed {
  const all = unpacked(text);
  const size = new DataView(all.buffer).getUint32(0, true);
  handed = JSON.parse(new TextDecoder().decode(all.subarray(4, 4 + size))) as Handed;
  bytes = all.subarray(4 + size);
  return handed;
}

function sortable(value: Value | undefined): number | string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === "number" || (typeof value === "object" && !Array.isArray(value) && "$" in value)) return numberOf(value);
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Rows in the order of a column, those without a value last; `-NAME`: the largest first. */
export function sorted(rows: RunRow[], columns: string[], sort: string): RunRow[] {
  const down = sort.startsWith("-");
  const name = down ? sort.slice(1) : sort;
  const own: Record<string, (row: RunRow) => Value> = { name: (row) => row.name, state: (row) => row.state, started: (row) => row.started, project: (row) => row.project };
  const at = columns.indexOf(name);
  const of = own[name] ?? ((row: RunRow) => row.values[at] ?? null);
  if (!own[name] && at < 0) return rows;
  const keyed = rows.map((row) => ({ row, key: sortable(of(row)) }));
  const none = (key: number | string | null) => key === null || (typeof key === "number" && Number.isNaN(key));
  keyed.sort((a, b) => {
    if (none(a.key) || none(b.key)) return Number(none(a.key)) - Number(none(b.key));
    if (a.key === b.key) return 0;
    const less = typeof a.key === typeof b.key ? (a.key as number) < (b.key as number) : typeof a.key === "number";
    return less === down ? 1 : -1;
  });
  return keyed.map((one) => one.row);
}

interface Asked {
  ids?: string[];
  runs?: string[];
  columns?: string[];
  sort?: string;
  offset?: number;
  limit?: number;
}

function runs(file: Handed, asked: Asked): RunsAnswer {
  const { columns, rows } = file.runs;
  const wanted = asked.columns ?? [];
  const ids = asked.ids ? new Set(asked.ids) : null;
  const found = sorted(ids ? rows.filter((row) => ids.has(row.run)) : rows, columns, asked.sort ?? "");
  const places = wanted.map((name) => columns.indexOf(name));
  const [offset, limit] = [asked.offset ?? 0, asked.limit ?? 100];
  return {
    all: rows.length,
    total: found.length,
    offset,
    columns: wanted,
    rows: found.slice(offset, offset + limit).map((row) => ({ ...row, values: places.map((place) => row.values[place] ?? null) })),
  };
}

/** What the server would answer; null: it is not in the file. */
export function answer(path: string, body: unknown): unknown {
  const file = handed;
  if (!file) return null;
  if (path === "api/runs") return runs(file, (body ?? {}) as Asked);
  if (path === "api/keys") return file.keys;
  if (path === "api/server") return { version: file.version, dir: file.title, edit: false };
  if (path === "api/columns") return { config: [], summary: [], metrics: [], left_out: 0 };
  return null;
}

async function unzipped(part: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  const stream = new Blob([part]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** The coarsest that shows the range as the page asks for it; the finest where none is fine enough. */
export function chosen(stored: Stored[], key: string, range: CardAsk["range"], width: number, whole: [number, number] | null): Stored | null {
  const levels = stored.filter((one) => one.key === key);
  const [low, high] = [range?.[0] ?? -Infinity, range?.[1] ?? Infinity];
  const part = range && whole && whole[1] > whole[0] ? Math.min(1, (Math.min(high, whole[1]) - Math.max(low, whole[0])) / (whole[1] - whole[0])) : 1;
  const bins = (one: Stored) => (one.range ? (range && low >= one.range[0] && high <= one.range[1] ? (one.width * (high - low)) / (one.range[1] - one.range[0]) : -1) : one.width * part);
  const usable = levels.map((one) => ({ one, bins: bins(one) })).filter((each) => each.bins >= 0);
  usable.sort((a, b) => a.bins - b.bins);
  return (usable.find((each) => each.bins >= 0.7 * width) ?? usable.at(-1))?.one ?? null;
}

async function loaded(one: Stored): Promise<Card> {
  const known = opened.get(one.offset);
  if (known) return known;
  const [card] = decode(await unzipped(bytes.slice(one.offset, one.offset + one.length)));
  if (!card) throw new Error("a chart of this file is damaged");
  opened.set(one.offset, card);
  return card;
}

const edge = (series: Series) => series.columns["x"] ?? series.columns["bin"];

/** From the first x to the last of all series. */
function extent(card: Card): [number, number] | null {
  let [low, high] = [Infinity, -Infinity];
  for (const one of card.series) {
    const x = edge(one);
    for (let at = 0; x && at < x.length; at++) {
      low = Math.min(low, x[at] as number);
      high = Math.max(high, x[at] as number);
    }
  }
  return low <= high ? [low, high] : null;
}

/** The rows of a series in a range, with one more on each side, so that its line goes on to the edges. */
export function cut(series: Series, low: number, high: number, bin: number): Series {
  const x = edge(series);
  if (!x) return series;
  let [from, to] = [0, x.length];
  while (from < to && (x[from] as number) + (series.kind === "points" ? 0 : bin) < low) from += 1;
  while (to > from && (x[to - 1] as number) > high) to -= 1;
  const count = series.columns["count"];
  let points = 0;
  for (let at = from; at < to; at++) points += count ? (count[at] as number) : 1;
  const [first, last] = [Math.max(0, from - 1), Math.min(x.length, to + 1)];
  const columns: Record<string, Column> = {};
  for (const [name, column] of Object.entries(series.columns)) columns[name] = column.subarray(first, last);
  return { ...series, columns, rows: last - first, points };
}

function asShown(card: Card, ask: CardAsk, ids: Set<string>): Card {
  const mine = card.series.filter((one) => one.run === undefined || ids.has(one.run));
  const { range } = ask;
  const [low, high] = [range?.[0] ?? -Infinity, range?.[1] ?? Infinity];
  const series = range && card.monotonic !== false ? mine.map((one) => cut(one, low, high, card.bin ?? 0)) : mine;
  const same = series.length === card.series.length && !range;
  const lines = card.series.length === mine.length ? (card.lines ?? mine.length) : mine.length;
  const points = same ? (card.points ?? 0) : series.reduce((sum, one) => sum + one.points, 0);
  const coarse = range !== null && series.some((one) => one.kind !== "points");
  return { ...card, id: ask.id, series, lines, points, ...(coarse ? { coarse } : {}) };
}

export async function charts(ids: string[], cards: CardAsk[]): Promise<Card[]> {
  const file = handed;
  if (!file) return [];
  const drawn = new Set(ids);
  return Promise.all(
    cards.map(async (ask) => {
      const key = ask.keys[0] ?? "";
      const first = file.charts.find((one) => one.key === key && one.range === null);
      if (!first) return { id: ask.id, series: [], error: "this chart is not in the file", remedy: "There was no room for it: ask for a file of fewer charts or runs." };
      const one = chosen(file.charts, key, ask.range, ask.width, ask.range ? extent(await loaded(first)) : null) ?? first;
      return asShown(await loaded(one), ask, drawn);
    }),
  );
}
