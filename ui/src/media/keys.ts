// The keys that hold media: those of a logged list are one card.
import type { KeysAnswer } from "../wire/types";

export interface MediaKey {
  name: string;
  kind: string;
  /** How many tiles its card has at most: runs times members of the list. */
  tiles: number;
}

const MEMBER = /^(.+)\/\d+$/;

/** By section, the media among the keys; `more/0` and `more/1` are `more`, unless that is a key itself. */
export function mediaKeys(answer: KeysAnswer, keep: (at: number) => boolean): Map<string, MediaKey[]> {
  const known = new Set(answer.keys);
  const found = new Map<string, { section: string; key: MediaKey }>();
  answer.keys.forEach((key, at) => {
    const kind = answer.kinds[at] ?? "number";
    if (kind === "number" || !keep(at)) return;
    const base = MEMBER.exec(key)?.[1];
    const name = base !== undefined && !known.has(base) ? base : key;
    const before = found.get(name);
    const runs = answer.runs[at] ?? 1;
    if (before) before.key.tiles += runs;
    else found.set(name, { section: name.includes("/") ? (name.split("/")[0] as string) : "", key: { name, kind, tiles: runs } });
  });
  const sections = new Map<string, MediaKey[]>();
  for (const { section, key } of found.values()) sections.set(section, [...(sections.get(section) ?? []), key]);
  return sections;
}

/** Kinds whose tiles are wide: one needs as much room as a chart. */
const WIDE = new Set(["table", "html", "text", "histogram", "mesh"]);

/** How many places of a row a card takes, so that its tiles have room. */
export function span(key: MediaKey, perRow: number): number {
  const wanted = WIDE.has(key.kind) ? key.tiles : Math.ceil(key.tiles / 2);
  return Math.max(1, Math.min(perRow, wanted));
}

/** Cards in rows: each row is filled up, none is cut. */
export function inRows(keys: MediaKey[], perRow: number): { key: MediaKey; span: number }[][] {
  const rows: { key: MediaKey; span: number }[][] = [];
  let room = 0;
  for (const key of keys) {
    const wants = span(key, perRow);
    if (wants > room) {
      rows.push([]);
      room = perRow;
    }
    rows.at(-1)?.push({ key, span: wants });
    room -= wants;
  }
  return rows;
}
