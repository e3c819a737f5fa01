// Changes runs, and keeps what the server says of it: how many were changed, and each one that was not, with the reason.
import { computed, signal } from "@preact/signals";
import { many } from "../parts/words";
import { again, server } from "../state/table";
import * as client from "../wire/client";
import type { Problem, Value } from "../wire/types";

export type Field = "name" | "tags" | "notes" | "archived" | "colour";

export interface Said {
  text: string;
  problems: Problem[];
  undo: (() => void) | null;
  /** Nothing was done. */
  failed?: boolean;
}

export const mayEdit = computed(() => server.value?.edit === true);
/** Of the last change; null: there is nothing to say. */
export const said = signal<Said | null>(null);

/** The server takes so many at once. */
const BATCH = 500;

/** Whether all were changed. What is wrong is said on the page. */
export async function edit(runs: string[], field: Field, value: Value, undo: (() => void) | null = null): Promise<boolean> {
  const done: string[] = [];
  const problems: Problem[] = [];
  for (let at = 0; at < runs.length; at += BATCH) {
    const some = runs.slice(at, at + BATCH);
    try {
      const answer = await client.edit(some, field, value);
      done.push(...answer.edited);
      problems.push(...answer.problems);
    } catch (wrong) {
      const [error, remedy] = wrong instanceof client.AskError ? [wrong.message, wrong.remedy] : [String(wrong), ""];
      said.value = { text: error, problems: remedy ? [{ run: "", error: remedy }] : [], undo: null, failed: true };
      return false;
    }
  }
  const text = problems.length ? `${many(problems.length, "run")} of ${runs.length} not changed` : undo ? `${many(done.length, "run")} changed` : "";
  said.value = text ? { text, problems, undo: done.length ? undo : null } : null;
  again(done);
  return problems.length === 0;
}
