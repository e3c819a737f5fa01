// The labels of boxes and the classes of masks that a card has, and which of them are drawn.
import { type Signal, signal } from "@preact/signals";
import type { Labelled } from "../state/address";
import type { Attached, Item } from "./types";

export interface Box {
  box: [number, number, number, number];
  label: string;
  score: number | null;
}

/** Whether a label is hidden. */
export function hides({ only, names }: Labelled, label: string): boolean {
  return names.includes(label) !== only;
}

/** Shows the label where it is hidden, hides it where it is not. */
export function turned(chosen: Labelled, label: string): Labelled {
  const { names } = chosen;
  return { ...chosen, names: names.includes(label) ? names.filter((one) => one !== label) : [...names, label] };
}

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

/** The boxes of an item; what is none, as in a damaged run, is left out. */
export function boxesOf(item: Item): Box[] {
  const given: unknown = item.meta["boxes"];
  if (!Array.isArray(given)) return [];
  const found: Box[] = [];
  for (const one of given as Partial<Record<"box" | "label" | "score", unknown>>[]) {
    const box: unknown = one?.box;
    if (!Array.isArray(box) || box.length !== 4 || !box.every(isNumber)) continue;
    found.push({ box: box as Box["box"], label: typeof one.label === "string" ? one.label : "", score: isNumber(one.score) ? one.score : null });
  }
  return found;
}

export function masksOf(item: Item): [string, Attached][] {
  const given: unknown = item.meta["attached"];
  if (typeof given !== "object" || given === null) return [];
  return Object.entries(given as Record<string, Attached>).filter(([, one]) => one?.kind === "mask");
}

/** How a class of a mask is called: by its name, else by its number. */
export function className(mask: string, meta: Attached["meta"], number: number): string {
  const classes = meta["classes"];
  const known = typeof classes === "object" && classes !== null && !Array.isArray(classes) && !("$" in classes) ? classes[String(number)] : undefined;
  return `${mask}: ${typeof known === "string" ? known : `class ${number}`}`;
}

/** The boxes that are drawn. */
export function visible(boxes: Box[], chosen: Labelled): Box[] {
  return boxes.filter((one) => !hides(chosen, one.label) && (one.score === null || one.score >= chosen.least));
}

/** Numbers of classes that were found in the masks of a card, beyond those that have a name. */
const numbers = new Map<string, Signal<ReadonlySet<string>>>();

export function foundOf(card: string): Signal<ReadonlySet<string>> {
  let found = numbers.get(card);
  if (!found) {
    found = signal<ReadonlySet<string>>(new Set());
    numbers.set(card, found);
  }
  return found;
}

export function found(card: string, names: string[]): void {
  const state = foundOf(card);
  const more = names.filter((one) => !state.value.has(one));
  if (more.length) state.value = new Set([...state.value, ...more]);
}

/** All labels of a card in order, "" for boxes without one; and whether any box has a score. */
export function labelsOf(items: Item[], more: ReadonlySet<string>): { labels: string[]; scored: boolean } {
  const labels = new Set<string>(more);
  let scored = false;
  for (const item of items) {
    for (const box of boxesOf(item)) {
      labels.add(box.label);
      scored ||= box.score !== null;
    }
    for (const [mask, { meta }] of masksOf(item)) {
      const classes = meta["classes"];
      if (typeof classes === "object" && classes !== null) for (const number of Object.keys(classes)) labels.add(className(mask, meta, Number(number)));
    }
  }
  return { labels: [...labels].sort(), scored };
}
