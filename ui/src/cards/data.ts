// What the cards on the screen need, asked in one request; what was answered, kept for the way back.
import { type Signal, effect, signal } from "@preact/signals";
import { messageOf } from "../parts/words";
import { alone, shown } from "../state/table";
import { view } from "../state/view";
import * as client from "../wire/client";
import type { Card, CardAsk, Smoothing } from "../wire/types";

export interface CardState {
  card: Card | null;
  /** What the card says instead of a chart. */
  error: string | null;
  remedy: string;
  loading: boolean;
}

interface Mounted {
  key: string;
  width: number;
}

const KEPT = 300;
const states = new Map<string, Signal<CardState>>();
const loaded = new Map<string, string>();
const mounted = new Map<string, Mounted>();
const dirty = new Set<string>();
let abort: AbortController | null = null;
let inFlight = new Map<string, string>();
let timer: ReturnType<typeof setTimeout> | null = null;

/** The state of a card; `id` is the key, with a prefix for the one in full size. */
export function stateOf(id: string): Signal<CardState> {
  let state = states.get(id);
  if (!state) {
    state = signal<CardState>({ card: null, error: null, remedy: "", loading: true });
    states.set(id, state);
    if (states.size > KEPT)
      for (const old of states.keys()) {
        if (states.size <= KEPT) break;
        if (mounted.has(old)) continue;
        states.delete(old);
        loaded.delete(old);
      }
  }
  return state;
}

/** People say a half-life; the server weighs by exp(−distance / width). */
function asSent(smooth: Smoothing | null): Smoothing | null {
  return smooth?.kind === "ema" ? { kind: "ema", width: smooth.width / Math.LN2 } : smooth;
}

function askOf(id: string, one: Mounted): CardAsk {
  const { x, zoom, group, ranks, smooth, logX } = view.peek();
  // Bins are equally wide, and a log axis shows the first of them largest: it needs more.
  const width = logX && x !== "time" ? Math.min(8192, 8 * one.width) : one.width;
  return { id, keys: [one.key], x, range: zoom, edges: zoom !== null, width, group, ranks, smooth: asSent(smooth), limit: 1000 };
}

/** The part of the view that an answer depends on. */
function signature(id: string, one: Mounted): string {
  return JSON.stringify(askOf(id, one));
}

let runsAsked: string[] = [];

async function ask(): Promise<void> {
  timer = null;
  if (document.hidden) return;
  const ids = shown.peek();
  if (ids !== runsAsked) {
    loaded.clear();
    runsAsked = ids;
    abort?.abort();
    inFlight = new Map();
  }
  if (ids.length === 0) return;
  const wanted = new Map<string, string>();
  for (const [id, one] of mounted) {
    const wants = signature(id, one);
    if ((loaded.get(id) !== wants || dirty.has(id)) && inFlight.get(id) !== wants) wanted.set(id, wants);
  }
  if (wanted.size === 0) return;
  // A request for what nobody wants any more ends; one whose cards are still on the screen goes on.
  if (abort && [...inFlight].some(([id, had]) => !mounted.has(id) || (wanted.has(id) && wanted.get(id) !== had))) {
    abort.abort();
    for (const [id, had] of inFlight) if (mounted.has(id) && !wanted.has(id)) wanted.set(id, had);
    inFlight = new Map();
  } else if (inFlight.size) return; // One at a time: the answer asks again.
  abort = new AbortController();
  const { signal: stop } = abort;
  inFlight = wanted;
  for (const id of wanted.keys()) {
    dirty.delete(id);
    const state = stateOf(id);
    state.value = { ...state.value, loading: true };
  }
  const asks = [...wanted.keys()].map((id) => askOf(id, mounted.get(id) as Mounted));
  try {
    const cards = await client.charts(ids, asks, stop);
    if (stop.aborted) return;
    for (const card of cards) {
      const wants = wanted.get(card.id);
      if (wants !== undefined) loaded.set(card.id, wants);
      stateOf(card.id).value = { card: card.error ? null : card, error: card.error ?? null, remedy: card.remedy ?? "", loading: false };
    }
  } catch (said) {
    if (stop.aborted) return;
    const remedy = said instanceof client.AskError ? said.remedy : "";
    for (const [id, wants] of wanted) {
      loaded.set(id, wants);
      const state = stateOf(id);
      state.value = { ...state.value, error: messageOf(said), remedy, loading: false };
    }
  }
  inFlight = new Map();
  schedule();
}

/** Cards that mount in one frame ask together. */
function schedule(delay = 0): void {
  timer ??= setTimeout(() => void ask(), delay);
}

export function mount(id: string, key: string, width: number): void {
  mounted.set(id, { key, width });
  schedule();
}

export function unmount(id: string): void {
  mounted.delete(id);
}

/** News of keys: the cards that show them ask again. null: any key may have changed. */
export function heard(told: Set<string> | null): void {
  for (const id of states.keys()) {
    const key = mounted.get(id)?.key ?? id.replace(/^full:/, "");
    if (told === null || told.has(key)) dirty.add(id);
  }
  schedule();
}

export function retry(id: string): void {
  dirty.add(id);
  schedule();
}

export function start(): void {
  effect(() => {
    void alone.value;
    for (const state of states.values()) state.value = { card: null, error: null, remedy: "", loading: true };
  });
  effect(() => {
    const { x, zoom, group, ranks, smooth, logX } = view.value;
    void [x, zoom, group, ranks, smooth, logX, shown.value];
    schedule();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) schedule();
  });
}
