// The keys of the runs that are drawn, in sections; the filter is applied here, so that it answers as one types.
import { computed, effect, signal } from "@preact/signals";
import * as client from "../wire/client";
import { AskError } from "../wire/client";
import { mediaKeys } from "../media/keys";
import type { KeysAnswer } from "../wire/types";
import { type Section, filtered, sections } from "./sections";
import { alone, shown } from "./table";
import { view } from "./view";

const EMPTY: KeysAnswer = { keys: [], sections: [], kinds: [], runs: [], points: [] };
export const keys = signal<KeysAnswer>(EMPTY);
export const loading = signal(true);
export const problem = signal<AskError | null>(null);

let abort = new AbortController();

async function load(): Promise<void> {
  abort.abort();
  abort = new AbortController();
  const { signal: stop } = abort;
  const ids = shown.peek();
  if (ids.length === 0) {
    keys.value = EMPTY;
    loading.value = false;
    return;
  }
  if (keys.peek() === EMPTY) loading.value = true;
  try {
    const answer = await client.keys(ids, stop);
    if (stop.aborted) return;
    keys.value = answer;
    problem.value = null;
  } catch (said) {
    if (stop.aborted) return;
    problem.value = said instanceof AskError ? said : new AskError(String(said), "Load the page again.");
  }
  loading.value = false;
}

let again: ReturnType<typeof setTimeout> | null = null;

/** A run tells of keys that are not known yet. */
export function heard(told: string[] | null): void {
  if (again !== null) return;
  if (told !== null) {
    const known = new Set(keys.value.keys);
    if (told.every((key) => known.has(key))) return;
  }
  again = setTimeout(() => {
    again = null;
    void load();
  }, 1000);
}

export const charted = computed<Section[]>(() => sections(keys.value, filtered(keys.value.keys, view.value.filter)));

/** The names of cards that show media, whatever the filter says. */
export const mediaNames = computed(() => new Set([...mediaKeys(keys.value, () => true).values()].flat().map((one) => one.name)));

export function start(): void {
  effect(() => {
    void alone.value;
    // Other charts: what is known of those before would be wrong of these.
    keys.value = EMPTY;
    loading.value = true;
  });
  effect(() => {
    void shown.value;
    void load();
  });
}
