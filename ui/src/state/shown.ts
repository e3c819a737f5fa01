// Which runs are drawn: the first of the table, all that match or none, with single ones added and taken away.
import type { Shown } from "./address";

/** At most so many are asked about: the server draws a band above 1,000 lines. */
export const MOST = 10_000;

/** The ids in the order of the table; added ones that are not in it come last. */
export function chosen(shown: Shown, inTable: string[]): string[] {
  const base = shown.base === "none" ? [] : shown.base === "all" ? inTable : inTable.slice(0, shown.top);
  const minus = new Set(shown.minus);
  const known = new Set(base);
  return [...base.filter((run) => !minus.has(run)), ...shown.plus.filter((run) => !known.has(run) && !minus.has(run))].slice(0, MOST);
}

/** One more, or one less: what the base says already is not said again. */
export function toggled(shown: Shown, run: string, inTable: string[]): Shown {
  const isShown = chosen(shown, inTable).includes(run);
  const base = chosen({ ...shown, plus: [], minus: [] }, inTable).includes(run);
  const plus = shown.plus.filter((one) => one !== run);
  const minus = shown.minus.filter((one) => one !== run);
  if (isShown) return { ...shown, plus, minus: base ? [...minus, run] : minus };
  return { ...shown, plus: base ? plus : [...plus, run], minus };
}
