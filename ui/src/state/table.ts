// The rows of the table, fetched by pages as they are looked at; and which runs are drawn.
import { batch, computed, effect, signal } from "@preact/signals";
import * as client from "../wire/client";
import { AskError } from "../wire/client";
import type { ColumnsAnswer, RunRow, ServerAnswer, Value } from "../wire/types";
import { MOST, chosen } from "./shown";
import { view } from "./view";

export const PAGE = 200;

export const rows = signal<ReadonlyMap<number, RunRow>>(new Map());
export const total = signal<number | null>(null);
export const all = signal(0);
/** Where the runs are in an object store that is out of reach: since when, and why. */
export const afar = signal<{ seen: string | null; problem: string } | null>(null);
export const problem = signal<AskError | null>(null);
export const known = signal<ReadonlyMap<string, RunRow>>(new Map());
export const baselineRow = signal<RunRow | null>(null);
export const names = signal<ColumnsAnswer>({ config: [], summary: [], metrics: [], left_out: 0 });
export const server = signal<ServerAnswer | null>(null);

/** The columns that are asked for: those shown, and the one that gives the colour. */
export const columns = computed(() => {
  const { columns: shown, colourBy } = view.value;
  return colourBy && !shown.includes(colourBy) ? [...shown, colourBy] : shown;
});

const question = computed(() => {
  const { where, sort, archived } = view.value;
  return JSON.stringify({ where, sort, archived, columns: columns.value });
});

let abort = new AbortController();
const asked = new Set<number>();

function wanted(): client.RunsAsk {
  const { where, sort, archived } = view.value;
  return { ...(where ? { where } : {}), ...(sort ? { sort } : {}), archived, columns: columns.value };
}

function remember(found: RunRow[]): void {
  const next = new Map(known.value);
  for (const row of found) next.set(row.run, row);
  known.value = next;
}

const CHEAP = /^(config|summary)\.|^(state|name|project|id|group|tags|notes|started|duration|records|points)$/;

/** Which runs there are is known before their metrics are read: names and charts do not wait for values. */
async function namesFirst(stop: AbortSignal, filled: () => boolean): Promise<void> {
  try {
    const answer = await client.runs({ ...wanted(), columns: [], offset: 0, limit: PAGE }, stop);
    if (stop.aborted || filled()) return;
    batch(() => {
      rows.value = new Map(answer.rows.map((row, at) => [at, row]));
      total.value = answer.total;
      all.value = answer.all;
      afar.value = answer.store?.problem ? answer.store : null;
      remember(answer.rows);
    });
  } catch {
    // The request for the whole says it.
  }
}

async function fetchPage(page: number, fresh: boolean): Promise<void> {
  const { signal: stop } = abort;
  asked.add(page);
  let done = false;
  if (fresh && columns.value.some((name) => !CHEAP.test(name))) void namesFirst(stop, () => done);
  try {
    const answer = await client.runs({ ...wanted(), offset: page * PAGE, limit: PAGE }, stop);
    if (stop.aborted) return;
    done = true;
    batch(() => {
      const next = fresh ? new Map<number, RunRow>() : new Map(rows.value);
      answer.rows.forEach((row, index) => next.set(answer.offset + index, row));
      for (let at = answer.total; at < (total.value ?? 0); at++) next.delete(at);
      rows.value = next;
      total.value = answer.total;
      all.value = answer.all;
      afar.value = answer.store?.problem ? answer.store : null;
      problem.value = null;
      remember(answer.rows);
    });
  } catch (said) {
    if (stop.aborted) return;
    asked.delete(page);
    problem.value = said instanceof AskError ? said : new AskError(String(said), "Load the page again.");
  }
}

/** Rows from..to are looked at. */
export function look(from: number, to: number): void {
  for (let page = Math.floor(from / PAGE); page <= Math.floor(to / PAGE); page++)
    if (!asked.has(page) && page * PAGE < (total.value ?? 1)) void fetchPage(page, false);
}

/** Counts the news of the list. */
export const listed = signal(0);

/** Something in the list changed: what was asked is asked again, what is shown stays until the answer is there. */
export function refresh(): void {
  listed.value += 1;
  const pages = asked.size ? [...asked].slice(-3) : [0];
  asked.clear();
  for (const page of new Set([0, ...pages])) void fetchPage(page, false);
  void ids();
  const { shown: wantedRuns, baseline, open } = view.peek();
  const apart = [...wantedRuns.plus, ...(baseline ? [baseline] : []), ...(open ? [open] : [])];
  if (apart.length) void fill(apart);
}

/** These runs were changed here. */
export function again(runs: string[]): void {
  if (runs.length) void fill(runs);
  refresh();
}

let named = 0;

/** Asks which columns there are, for completion and menus, when somebody comes near them; not again within 10 s. */
export async function columnNames(): Promise<void> {
  if (Date.now() - named < 10_000) return;
  named = Date.now();
  try {
    names.value = await client.columns();
  } catch {
    named = 0; // Completion is a convenience.
  }
}

/** The ids of all that match, when all are drawn. */
const matching = signal<string[]>([]);

async function ids(): Promise<void> {
  if (view.value.shown.base !== "all") return;
  const { signal: stop } = abort;
  const found: RunRow[] = [];
  try {
    for (let offset = 0; offset < MOST; offset += 1000) {
      const colour = view.value.colourBy;
      const answer = await client.runs({ ...wanted(), columns: colour ? [colour] : [], offset, limit: 1000 }, stop);
      found.push(...answer.rows);
      if (found.length >= answer.total || answer.rows.length === 0) break;
    }
  } catch {
    return; // The table's own request says it.
  }
  if (stop.aborted) return;
  batch(() => {
    matching.value = found.map((row) => row.run);
    // What the table knows of a run has all columns and stays.
    const next = new Map(known.value);
    for (const row of found) if (!next.has(row.run)) next.set(row.run, row);
    known.value = next;
  });
}

/** The ids in the order of the table, as far as they are known. */
export const inTable = computed(() => {
  if (view.value.shown.base === "all") return matching.value;
  const found: string[] = [];
  for (let at = 0; at < view.value.shown.top; at++) {
    const row = rows.value.get(at);
    if (row) found.push(row.run);
  }
  return found;
});

let before: string[] = [];
/** The runs that the table marks as drawn; the same array while nothing changes. */
export const marked = computed(() => {
  const next = chosen(view.value.shown, inTable.value);
  if (next.length !== before.length || next.some((run, at) => run !== before[at])) before = next;
  return before;
});

export const markedSet = computed(() => new Set(marked.value));

/** The run whose charts stand on its own page, in place of those of the marked runs. */
export const alone = computed(() => (view.value.tab === "charts" ? view.value.open : null));

/** The runs that are drawn; the same array while nothing changes. */
export const shown = computed(() => (alone.value === null ? marked.value : [alone.value]));

export const shownSet = computed(() => new Set(shown.value));

/** The value that gives a run its colour, as the server said it. */
export function colourValue(run: string): Value | undefined {
  const row = known.value.get(run);
  const at = columns.value.indexOf(view.value.colourBy);
  if (!row || at < 0) return undefined;
  return row.values.length === columns.value.length ? row.values[at] : row.values[0];
}

async function fill(missing: string[]): Promise<void> {
  try {
    const answer = await client.runs({ ids: missing, archived: true, columns: columns.value, limit: 1000 });
    remember(answer.rows);
  } catch {
    // The rest of the page goes on without their names.
  }
}

/** Starts to keep the table in step with the view. */
export function start(): void {
  effect(() => {
    void question.value;
    abort.abort();
    abort = new AbortController();
    asked.clear();
    void fetchPage(0, true);
  });
  effect(() => {
    void question.value;
    if (view.value.shown.base === "all") void ids();
  });
  effect(() => {
    const { shown: wantedRuns, baseline, open } = view.value;
    const missing = [...wantedRuns.plus, ...[baseline, open].filter((one) => one !== null)].filter((run) => !known.peek().has(run));
    if (missing.length) void fill(missing);
  });
  effect(() => {
    const { baseline } = view.value;
    baselineRow.value = baseline ? (known.value.get(baseline) ?? null) : null;
  });
  void client.server().then(
    (said) => {
      server.value = said;
      document.title = `${said.dir} · steno`;
    },
    () => undefined,
  );
}
