// The views that are kept under names beside the runs.
import { signal } from "@preact/signals";
import * as client from "../wire/client";
import type { KeptView } from "../wire/types";

export const views = signal<KeptView[] | null>(null);
export const leftOut = signal(0);
export const trouble = signal<client.AskError | null>(null);
/** Whether the list is on the screen. */
export const listed = signal(false);

export async function load(): Promise<void> {
  try {
    const answer = await client.views();
    views.value = answer.views;
    leftOut.value = answer.left_out;
  } catch (said) {
    trouble.value = wrong(said);
  }
}

function wrong(said: unknown): client.AskError {
  return said instanceof client.AskError ? said : new client.AskError(String(said), "Load the page again.");
}

/** News of the list: somebody may have kept another view. */
export function heard(): void {
  if (listed.peek()) void load();
}

async function act(what: "save" | "rename" | "remove", body: Record<string, unknown>): Promise<client.AskError | null> {
  try {
    await client.changeView(what, body);
    trouble.value = null;
    await load();
    return null;
  } catch (said) {
    trouble.value = wrong(said);
    return trouble.value;
  }
}

/** What the server says against it; status 409: the name is taken. */
export const save = (name: string, view: string, replace: boolean) => act("save", { name, view, replace });
export const rename = (name: string, to: string) => act("rename", { name, to });
export const remove = (name: string) => act("remove", { name });
