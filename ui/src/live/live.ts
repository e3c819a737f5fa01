// News from the server: one event stream per browser, held by a leader tab; polling when the stream is silent.
import { effect, signal } from "@preact/signals";
import * as client from "../wire/client";
import type { News } from "../wire/types";

export type Way = "starting" | "live" | "polling" | "away";
/** How news come just now; the page says it. */
export const way = signal<Way>("starting");

const SILENCE_MS = 25_000;
const POLL_MS = 2_000;
const MOST_WATCHED = 200;

type Message =
  | { kind: "news"; news: News }
  | { kind: "way"; way: Way; id: string }
  | { kind: "who" }
  | { kind: "watch"; tab: string; runs: string[] | null };

const tab = Math.random().toString(36).slice(2);
// Two viewers below one host have a channel and a leader each.
const scope = `steno:${new URL(".", location.href).href}`;
const channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel(scope);

let listener: (news: News) => void = () => undefined;
/** What this tab watches; null while it is hidden. */
let mine: string[] | null = null;
const watchers = new Map<string, string[]>();
/** Tabs that cannot agree on one stream open none: each would hold one of the few connections of its host. */
let streams = true;
let leading = false;
let source: EventSource | null = null;
let streamed = "";
let lastId = "";
let heardAt = 0;
let ticking: ReturnType<typeof setInterval> | null = null;
let polling = false;

function say(next: Way): void {
  if (way.value !== next) way.value = next;
  // With the id of the last news: the tab that leads next goes on from there.
  if (leading) channel?.postMessage({ kind: "way", way: next, id: lastId } satisfies Message);
}

function deliver(news: News): void {
  if (leading) channel?.postMessage({ kind: "news", news } satisfies Message);
  if (mine !== null) listener(news);
}

/** All that the browser's tabs watch, sorted, so that the order of tabs changes no address. */
function union(): string[] {
  const found = new Set<string>();
  for (const runs of watchers.values()) for (const run of runs) found.add(run);
  return [...found].sort().slice(0, MOST_WATCHED);
}

function heard(event: MessageEvent<string>): void {
  heardAt = Date.now();
  if (event.lastEventId) lastId = event.lastEventId;
  say("live");
}

function close(): void {
  source?.close();
  source = null;
  streamed = "";
}

function open(): void {
  if (!leading || !streams) return;
  if (watchers.size === 0) {
    close(); // Nobody looks: hidden tabs ask nothing.
    return;
  }
  const query = new URLSearchParams(union().map((run) => ["runs", run]));
  if (source && streamed === query.toString()) return;
  close();
  streamed = query.toString();
  heardAt = Date.now();
  // What came between two streams, of this tab or of the one that led before, is told first.
  if (lastId) query.set("since", lastId);
  source = new EventSource(`api/live?${query}`);
  source.addEventListener("open", () => {
    heardAt = Date.now();
    say("live");
  });
  source.addEventListener("news", (event: MessageEvent<string>) => {
    heard(event);
    deliver(JSON.parse(event.data) as News);
  });
  source.addEventListener("reset", (event: MessageEvent<string>) => {
    heard(event);
    deliver({ reset: true });
  });
  source.addEventListener("beat", heard);
}

async function poll(): Promise<void> {
  if (polling) return;
  polling = true;
  try {
    const news = await client.news(lastId, union());
    if (news.id) lastId = news.id;
    if (Date.now() - heardAt > SILENCE_MS || !source) say("polling");
    if (news.reset || news.list || Object.keys(news.runs ?? {}).length) deliver(news);
  } catch {
    say("away");
  }
  polling = false;
}

let reopened = 0;

function tick(): void {
  if (!leading || watchers.size === 0 || Date.now() - heardAt < SILENCE_MS) return;
  void poll();
  // The stream is tried again now and then: a proxy may let it through later.
  if (Date.now() - reopened > 60_000) {
    reopened = Date.now();
    const since = heardAt;
    close();
    open();
    heardAt = since;
  }
}

function watch(): void {
  if (mine === null) watchers.delete(tab);
  else watchers.set(tab, mine);
  channel?.postMessage({ kind: "watch", tab, runs: mine } satisfies Message);
  open();
}

function lead(): void {
  leading = true;
  channel?.postMessage({ kind: "who" } satisfies Message);
  open();
  ticking ??= setInterval(tick, POLL_MS);
}

function onMessage(event: MessageEvent<Message>): void {
  const said = event.data;
  if (said.kind === "news" && !leading && mine !== null) listener(said.news);
  else if (said.kind === "way" && !leading) {
    way.value = said.way;
    lastId = said.id || lastId;
  }
  else if (said.kind === "who") watch();
  else if (said.kind === "watch") {
    if (said.runs === null) watchers.delete(said.tab);
    else watchers.set(said.tab, said.runs);
    open();
  }
}

/** Starts to listen: `runs` gives the running runs that this tab shows. */
export function start(runs: () => string[], onNews: (news: News) => void): void {
  listener = onNews;
  channel?.addEventListener("message", onMessage);
  let last = "";
  const update = () => {
    const wanted = document.hidden ? null : runs();
    const text = JSON.stringify(wanted);
    if (text === last) return;
    const back = last === "null" && wanted !== null;
    last = text;
    mine = wanted;
    watch();
    // What was missed while the tab was hidden is asked once.
    if (back) listener({ reset: true });
  };
  effect(() => {
    runs();
    update();
  });
  document.addEventListener("visibilitychange", update);
  addEventListener("pagehide", () => channel?.postMessage({ kind: "watch", tab, runs: null } satisfies Message));
  addEventListener("pageshow", (event) => {
    if (event.persisted) watch();
  });
  // Locks and channels need a secure context; without them each tab polls, which holds no connection.
  if (navigator.locks && channel) void navigator.locks.request(scope, () => new Promise<void>(lead));
  else {
    leading = true;
    streams = false;
    ticking = setInterval(() => {
      if (mine !== null) void poll();
    }, POLL_MS);
  }
}
