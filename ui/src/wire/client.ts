// Asks the server: relative addresses, one kind of error with a remedy.
import type { MediaCard } from "../media/types";
import { decode } from "./decode";
import * as file from "./file";
import type { RunAnswer } from "./ofrun";
import type { Card, CardAsk, ColumnsAnswer, EditAnswer, Failure, KeysAnswer, News, RunsAnswer, ServerAnswer, Value, ViewsAnswer } from "./types";

/** What the server, or the way to it, says is wrong. */
export class AskError extends Error {
  constructor(
    message: string,
    readonly remedy: string,
    readonly status = 0,
    readonly at: number | null = null,
  ) {
    super(message);
  }
}

/** The token is gone or another: the page comes anew and asks for it; its view stands in the address. */
function askAgain(): void {
  const last = Number(sessionStorage.getItem("steno:asked") ?? 0);
  if (Date.now() - last < 10_000) return;
  sessionStorage.setItem("steno:asked", String(Date.now()));
  location.reload();
}

async function refused(answer: Response): Promise<AskError> {
  if (answer.status === 401) askAgain();
  let said: Partial<Failure> = {};
  try {
    said = (await answer.json()) as Failure;
  } catch {
    // A proxy between answers in HTML.
  }
  return new AskError(
    said.error ?? `the server answers ${answer.status} ${answer.statusText}`,
    said.remedy ?? (answer.status >= 500 ? "See what `steno view` prints, or what a proxy between says." : "Load the page again."),
    answer.status,
    said.at ?? null,
  );
}

export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  if (file.inFile()) {
    const found = file.answer(path, typeof init.body === "string" ? JSON.parse(init.body) : null);
    if (found === null) throw new AskError("this is not in the file", "Ask whoever made it, or open the runs with `steno view`.");
    return Response.json(found);
  }
  let answer: Response;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...init });
  } catch (problem) {
    if (problem instanceof DOMException && problem.name === "AbortError") throw problem;
    throw new AskError("the viewer cannot be reached", "Is `steno view` still running?");
  }
  if (!answer.ok) throw await refused(answer);
  return answer;
}

export function posted(body: unknown, signal?: AbortSignal): RequestInit {
  return {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Steno": "1" },
    body: JSON.stringify(body),
    ...(signal ? { signal } : {}),
  };
}

export interface RunsAsk {
  where?: string;
  sort?: string;
  columns?: string[];
  offset?: number;
  limit?: number;
  archived?: boolean;
  ids?: string[];
}

export async function runs(wanted: RunsAsk, signal?: AbortSignal): Promise<RunsAnswer> {
  return (await ask("api/runs", posted(wanted, signal))).json() as Promise<RunsAnswer>;
}

/** Gives one field of some runs a value; each run that was not changed is said. */
export async function edit(ids: string[], field: string, value: Value): Promise<EditAnswer> {
  return (await ask("api/edit", posted({ runs: ids, field, value }))).json() as Promise<EditAnswer>;
}

export async function views(): Promise<ViewsAnswer> {
  return (await ask("api/views")).json() as Promise<ViewsAnswer>;
}

export async function changeView(what: "save" | "rename" | "remove", body: Record<string, unknown>): Promise<void> {
  await ask(`api/views/${what}`, posted(body));
}

export async function columns(): Promise<ColumnsAnswer> {
  return (await ask("api/columns")).json() as Promise<ColumnsAnswer>;
}

export async function keys(ids: string[], signal?: AbortSignal): Promise<KeysAnswer> {
  return (await ask("api/keys", posted({ runs: ids }, signal))).json() as Promise<KeysAnswer>;
}

export async function charts(ids: string[], cards: CardAsk[], signal?: AbortSignal): Promise<Card[]> {
  if (file.inFile()) return file.charts(ids, cards);
  const answer = await ask("api/chart", posted({ runs: ids, cards }, signal));
  return decode(await answer.arrayBuffer());
}

/** The media of some runs at a step, or the last before it; null: the last of all. */
export async function media(ids: string[], cards: { id: string; key: string; step: number | null; steps_known: boolean }[]): Promise<MediaCard[]> {
  const answer = await ask("api/media-index", posted({ runs: ids, cards }));
  return ((await answer.json()) as { cards: MediaCard[] }).cards;
}

export async function config(run: string): Promise<RunAnswer> {
  return (await ask(`api/config?run=${encodeURIComponent(run)}`)).json() as Promise<RunAnswer>;
}

export async function news(since: string, watched: string[]): Promise<News> {
  const query = new URLSearchParams([["since", since], ...watched.map((run) => ["runs", run])]);
  return (await ask(`api/news?${query}`)).json() as Promise<News>;
}

export async function server(): Promise<ServerAnswer> {
  return (await ask("api/server")).json() as Promise<ServerAnswer>;
}

/** The address of an exact CSV of what a card shows. */
export function csvAddress(ids: string[], names: string[], x: string, range: [number | null, number | null] | null): string {
  const query = new URLSearchParams([...ids.map((run) => ["run", run]), ...names.map((key) => ["key", key]), ["x", x]]);
  if (range && range[0] !== null) query.set("from", String(range[0]));
  if (range && range[1] !== null) query.set("to", String(range[1]));
  return `api/series?${query}`;
}
