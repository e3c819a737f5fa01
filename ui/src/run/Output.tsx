// What a run printed: pages of lines as they are looked at, with a search in all of them; it follows the end.
import { useEffect, useRef, useState } from "preact/hooks";
import { useRows } from "../parts/virtual";
import { many, moment } from "../parts/words";
import * as client from "../wire/client";
import type { Entry } from "../wire/types";
import { spans } from "./ansi";
import { turn } from "./news";

const [PAGE, ROW] = [1000, 19];

interface Lines {
  total: number | null;
  found: Map<number, Entry>;
  wrong: string;
  look(from: number, to: number): void;
}

function useLines(run: string, kind: string, match: string): Lines {
  const [state, setState] = useState<{ total: number | null; found: Map<number, Entry>; wrong: string }>({ total: null, found: new Map(), wrong: "" });
  const asked = useRef(new Set<number>());
  const question = useRef("");
  const load = async (page: number) => {
    const mine = question.current;
    asked.current.add(page);
    try {
      const answer = await client.records(run, kind, match, page * PAGE, PAGE);
      if (mine !== question.current) return;
      setState((before) => {
        const found = new Map(before.found);
        answer.records.forEach((one, at) => found.set(page * PAGE + at, one));
        return { total: answer.total, found, wrong: "" };
      });
    } catch (said) {
      asked.current.delete(page);
      if (mine === question.current) setState((before) => ({ ...before, wrong: said instanceof Error ? said.message : String(said) }));
    }
  };
  useEffect(() => {
    question.current = JSON.stringify([run, kind, match]);
    asked.current.clear();
    setState({ total: null, found: new Map(), wrong: "" });
    void load(0);
  }, [run, kind, match]);
  const last = Math.floor(Math.max(0, (state.total ?? 1) - 1) / PAGE);
  useEffect(() => {
    // Only the last page grows.
    if (turn.value > 0) void load(last);
  }, [turn.value]);
  return {
    ...state,
    look(from, to) {
      for (let page = Math.floor(from / PAGE); page <= Math.floor(to / PAGE); page++)
        if (!asked.current.has(page) && page * PAGE < (state.total ?? 0)) void load(page);
    },
  };
}

function text(entry: Entry): string {
  const { value } = entry;
  if (typeof value === "object" && value !== null && !Array.isArray(value) && "text" in value) return String(value["text"]);
  return typeof value === "string" ? value : JSON.stringify(value);
}

function isError(entry: Entry): boolean {
  const { value } = entry;
  return typeof value === "object" && value !== null && !Array.isArray(value) && "stream" in value && value["stream"] === "stderr";
}

export function Output({ run, kind }: { run: string; kind: "output" | "" }) {
  const [match, setMatch] = useState("");
  const scroller = useRef<HTMLDivElement>(null);
  const lines = useLines(run, kind, match);
  const count = lines.total ?? 0;
  const rows = useRows(scroller, count, () => ROW, "", 20);
  const [first, last] = [rows.items[0]?.index ?? 0, rows.items.at(-1)?.index ?? 0];
  useEffect(() => lines.look(first, last), [first, last, count]);
  const before = useRef(0);
  useEffect(() => {
    const node = scroller.current;
    const atEnd = node ? node.scrollHeight - node.scrollTop - node.clientHeight < 4 * ROW + (count - before.current) * ROW : false;
    if (before.current > 0 && count > before.current && atEnd) rows.to(count - 1);
    before.current = count;
  }, [count]);
  return (
    <div class="output">
      <div class="poprow">
        <input type="search" placeholder="search in all lines" aria-label="Search" value={match} onChange={(event) => setMatch(event.currentTarget.value)} />
        <span class="quiet">{lines.total === null ? "Loading…" : many(count, kind === "output" ? "line" : "entry").replace("entrys", "entries")}</span>
        <button onClick={() => rows.to(count - 1)} disabled={count === 0}>
          end
        </button>
      </div>
      {lines.wrong && <p class="trouble"><b>{lines.wrong}</b></p>}
      <div class="lines" ref={scroller} tabIndex={0} role="log" aria-label="Lines">
        <div style={{ height: `${rows.height}px`, position: "relative" }}>
          {rows.items.map((item) => {
            const entry = lines.found.get(item.index);
            if (!entry) return null;
            return (
              <div key={item.index} class={`line${isError(entry) ? " stderr" : ""}`} style={{ top: `${item.start}px` }} title={entry.time ? moment(new Date(entry.time)) : ""}>
                {kind === "" && <b>{entry.key} </b>}
                {spans(text(entry)).map((one, at) => (
                  <span key={at} class={one.classes.join(" ")} style={one.colour ? { color: one.colour } : {}}>
                    {one.text}
                  </span>
                ))}
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}
