// Keys in sections by what is before the first /, and the filter of keys.
import { type MediaKey, mediaKeys } from "../media/keys";
import type { KeysAnswer } from "../wire/types";

export interface Section {
  name: string;
  keys: string[];
  /** The same order: in how many runs each is, and its points. */
  runs: number[];
  points: number[];
  /** Shown below the charts. */
  media: MediaKey[];
}

/** A regular expression where it is one, else a text; case does not count. Gives a test for a key. */
export function filtered(keys: string[], filter: string): (at: number) => boolean {
  if (filter === "") return () => true;
  try {
    const expression = new RegExp(filter, "i");
    return (at) => expression.test(keys[at] as string);
  } catch {
    const text = filter.toLowerCase();
    return (at) => (keys[at] as string).toLowerCase().includes(text);
  }
}

/** Sections in the order of their names, the one without a name first, those of the machine last. */
export function sections(answer: KeysAnswer, keep: (at: number) => boolean): Section[] {
  const found = new Map<string, Section>();
  const of = (name: string): Section => {
    let section = found.get(name);
    if (!section) {
      section = { name, keys: [], runs: [], points: [], media: [] };
      found.set(name, section);
    }
    return section;
  };
  answer.keys.forEach((key, at) => {
    if ((answer.kinds[at] ?? "number") !== "number" || !keep(at)) return;
    const section = of(answer.sections[at] ?? "");
    section.keys.push(key);
    section.runs.push(answer.runs[at] ?? 0);
    section.points.push(answer.points[at] ?? 0);
  });
  for (const [name, media] of mediaKeys(answer, keep)) of(name).media = media;
  const last = (name: string) => (name === "system" || name === "sys" ? 1 : 0);
  return [...found.values()].sort((a, b) => last(a.name) - last(b.name) || (a.name < b.name ? -1 : 1));
}
