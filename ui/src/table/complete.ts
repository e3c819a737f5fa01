// Completion of the `where` language: what can stand where the caret is.
import type { ColumnsAnswer } from "../wire/types";

const FIELDS = ["state", "name", "project", "id", "group", "notes", "tags", "started", "duration", "records", "points"];
const WORDS = ["and", "or", "not", "in"];
const OPERATORS = ["==", "!=", "<", "<=", ">", ">=", "in", "not in"];
const STATES = ['"running"', '"finished"', '"failed"', '"crashed"'];
const PARTS = ["last", "min", "max", "count"];

export interface Completion {
  /** What is replaced: from..to of the text. */
  from: number;
  to: number;
  options: string[];
}

/** A name as the language writes it: in backticks where it has other characters. */
export function written(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_./]*$/.test(name) && !WORDS.includes(name) ? name : `\`${name}\``;
}

function matches(options: string[], typed: string): string[] {
  const text = typed.toLowerCase();
  const begins = options.filter((one) => one.toLowerCase().startsWith(text));
  const holds = text.length > 1 ? options.filter((one) => !begins.includes(one) && one.toLowerCase().includes(text)) : [];
  return [...begins, ...holds];
}

function inText(before: string): boolean {
  let quote = "";
  for (const char of before) {
    if (quote) quote = char === quote ? "" : quote;
    else if (char === '"' || char === "'") quote = char;
  }
  return quote !== "";
}

export function complete(text: string, caret: number, names: ColumnsAnswer, most = 12): Completion | null {
  const before = text.slice(0, caret);
  if (inText(before)) return null;
  const token = /[A-Za-z0-9_./`]*$/.exec(before)?.[0] ?? "";
  const from = caret - token.length;
  const to = caret + (/^[A-Za-z0-9_./`]*/.exec(text.slice(caret))?.[0].length ?? 0);
  const head = text.slice(0, from).trimEnd();
  if (/\bstate\s*(==|!=|in\s*\[|in|,)$/.test(head)) return pack(from, to, matches(STATES, token), most, token);
  if (/(==|!=|<=?|>=?)$/.test(head)) return null; // A value: what it is only the user knows.
  const value = /("[^"]*"|'[^']*'|\]|\)|[\d.]+(?:e[-+]?\d+)?|\btrue|\bfalse)$/i.test(head);
  if (value) return pack(from, to, matches(["and", "or"], token), most, token);
  const named = head !== "" && /[\w`./]$/.test(head) && !/\b(and|or|not|in)$/.test(head);
  if (named) return pack(from, to, matches([...OPERATORS, "and", "or"], token), most, token);
  const bare = token.replaceAll("`", "");
  const dot = bare.lastIndexOf(".");
  if (dot > 0 && names.metrics.includes(bare.slice(0, dot)))
    return pack(from, to, matches(PARTS.map((part) => `${bare.slice(0, dot)}.${part}`), bare).map(written), most, token);
  const all = [...FIELDS, ...names.config.map((one) => `config.${one}`), ...names.summary.map((one) => `summary.${one}`), ...names.metrics];
  return pack(from, to, matches([...all, ...(bare ? ["not"] : [])], bare).map(written), most, token);
}

function pack(from: number, to: number, options: string[], most: number, token: string): Completion | null {
  const kept = options.filter((one) => one !== token).slice(0, most);
  return kept.length ? { from, to, options: kept } : null;
}
