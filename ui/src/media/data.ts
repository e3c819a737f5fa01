// What the media cards on the screen need: asked in one request, again when a step is chosen or when there is news.
import { type Signal, effect, signal } from "@preact/signals";
import { messageOf } from "../parts/words";
import { shown } from "../state/table";
import { view } from "../state/view";
import * as client from "../wire/client";
import * as news from "./news";
import type { Item, MediaCard } from "./types";

export interface MediaState {
  card: MediaCard | null;
  error: string | null;
  remedy: string;
  loading: boolean;
}

/** Of so many runs at most media are shown: each is a picture, not a line. */
export const MOST_RUNS = 100;
const MOST_CARDS = 64;
const KEPT = 200;
const AGAIN_MS = 1_500;

const states = new Map<string, Signal<MediaState>>();
/** By card, its key. */
const mounted = new Map<string, string>();
const loaded = new Map<string, string>();
/** The runs that a card's list of steps is of. */
const stepsOf = new Map<string, string>();
const dirty = new Set<string>();
let busy = false;
let timer: ReturnType<typeof setTimeout> | null = null;

export function stateOf(id: string): Signal<MediaState> {
  let state = states.get(id);
  if (!state) {
    state = signal<MediaState>({ card: null, error: null, remedy: "", loading: true });
    states.set(id, state);
    for (const old of states.keys()) {
      if (states.size <= KEPT) break;
      if (mounted.has(old)) continue;
      states.delete(old);
      loaded.delete(old);
      stepsOf.delete(old);
    }
  }
  return state;
}

export function address(run: string, file: string): string {
  return `api/media/${encodeURIComponent(run)}/${file.split("/").map(encodeURIComponent).join("/")}`;
}

/** The runs whose media are shown. */
export function runs(): string[] {
  return shown.value.slice(0, MOST_RUNS);
}

async function ask(): Promise<void> {
  if (busy || document.hidden) return;
  const [ids, step] = [runs(), view.peek().mediaStep];
  const wants = JSON.stringify([step, ids]);
  const same = JSON.stringify(ids);
  const wanted = [...mounted].filter(([id]) => loaded.get(id) !== wants || dirty.has(id)).slice(0, MOST_CARDS);
  if (wanted.length === 0) return;
  busy = true;
  // A slider that moves needs no list of steps again; news do.
  const asks = wanted.map(([id, key]) => ({ id, key, step, steps_known: !dirty.has(id) && stepsOf.get(id) === same && stateOf(id).value.card !== null }));
  for (const [id] of wanted) {
    dirty.delete(id);
    stateOf(id).value = { ...stateOf(id).value, loading: true };
  }
  try {
    const cards = await client.media(ids, asks);
    const found = new Map(cards.map((card) => [card.id, card]));
    for (const [id] of wanted) {
      const answer = found.get(id);
      const card = answer && { ...answer, steps: (answer.steps as number[] | null) ?? stateOf(id).value.card?.steps ?? [] };
      stepsOf.set(id, same);
      loaded.set(id, wants);
      stateOf(id).value = { card: card && !card.error ? card : null, error: card?.error ?? null, remedy: card?.remedy ?? "", loading: false };
      // An encoder at work makes no news when it is done, nor a server that reads later.
      if (card?.again || card?.items?.some(unfinished)) setTimeout(() => retry(id), AGAIN_MS);
    }
  } catch (said) {
    for (const [id] of wanted) {
      loaded.set(id, wants);
      const remedy = said instanceof client.AskError ? said.remedy : "";
      stateOf(id).value = { ...stateOf(id).value, error: messageOf(said), remedy, loading: false };
    }
  }
  busy = false;
  schedule();
}

const unfinished = (item: Item) => item.state === "waiting" || Object.values((item.meta["attached"] ?? {}) as Record<string, { state?: string }>).some((one) => one.state === "waiting");

/** Cards that mount in one frame ask together; while one request is out, a slider that moves only changes the next. */
function schedule(): void {
  timer ??= setTimeout(() => {
    timer = null;
    void ask();
  }, 0);
}

export function mount(id: string, key: string): void {
  mounted.set(id, key);
  schedule();
}

export function unmount(id: string): void {
  mounted.delete(id);
}

export function retry(id: string): void {
  dirty.add(id);
  schedule();
}

news.listen((told) => {
  for (const [id, key] of mounted) if (told === null || told.has(key) || [...told].some((one) => one.startsWith(`${key}/`))) dirty.add(id);
  // What is not on the screen is asked for when it comes there.
  for (const id of loaded.keys()) if (!mounted.has(id)) loaded.delete(id);
  schedule();
});

effect(() => {
  void [view.value.mediaStep, shown.value];
  schedule();
});
document.addEventListener("visibilitychange", schedule);
