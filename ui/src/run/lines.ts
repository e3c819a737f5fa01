// The entries of a run by pages, as far as they were looked at; the last page is asked for again when the run has news.
import { useEffect, useRef, useState } from "preact/hooks";
import { messageOf } from "../parts/words";
import * as client from "../wire/runclient";
import type { Entry } from "../wire/types";
import { turn } from "./news";

export const PAGE = 1000;
const KEPT = 40;

export interface Question {
  run: string;
  kind: string;
  key: string;
  rank: string;
  match: string;
}

export interface Lines {
  total: number | null;
  kinds: Record<string, number>;
  ranks: number[];
  wrong: string;
  /** The entry at a place of the list, if its page is here. */
  at(index: number): Entry | undefined;
  /** These are on the screen. */
  look(from: number, to: number): void;
}

interface State {
  question: string;
  total: number | null;
  kinds: Record<string, number>;
  ranks: number[];
  wrong: string;
  pages: Map<number, Entry[]>;
}

const START = { total: null, kinds: {}, ranks: [], wrong: "" };

/** @param atEnd the last page is asked for first. */
export function useLines(asked: Question, atEnd: boolean): Lines {
  const question = JSON.stringify(asked);
  const [state, setState] = useState<State>({ ...START, question, pages: new Map() });
  const waiting = useRef(new Set<string>());
  const now = useRef(question);
  now.current = question;
  const take = (page: number, mine: string, answer: client.RecordsPage) =>
    setState((before) => {
      if (mine !== now.current) return before;
      const pages = before.question === mine ? new Map(before.pages) : new Map<number, Entry[]>();
      pages.delete(page);
      pages.set(page, answer.records);
      for (const old of pages.keys()) if (pages.size > KEPT) pages.delete(old);
      // Of the whole list more is not fewer: a search in a copy of it may come later.
      return { question: mine, total: answer.total, kinds: answer.kinds ?? {}, ranks: answer.ranks ?? [], wrong: "", pages };
    });
  const load = (page: number | "last") => {
    const [mine, name] = [question, `${page} ${question}`];
    if (waiting.current.has(name)) return;
    waiting.current.add(name);
    client
      .records(asked, page === "last" ? 0 : page * PAGE, PAGE, page === "last")
      .then(
        (answer) => {
          if (page !== "last") return take(page, mine, answer);
          // What came from the end is put in pages of its own; the one that is not whole is asked for when it is looked at.
          const first = answer.offset ?? 0;
          const whole = Math.ceil(first / PAGE);
          take(whole, mine, { ...answer, records: answer.records.slice(whole * PAGE - first) });
        },
        (said: unknown) => {
          const wrong = messageOf(said);
          if (mine === now.current) setState((before) => (before.question === mine ? { ...before, wrong } : { ...START, question: mine, wrong, pages: new Map() }));
        },
      )
      .finally(() => waiting.current.delete(name));
  };
  useEffect(() => load(atEnd ? "last" : 0), [question]);
  const mine = state.question === question ? state : { ...START, question, pages: new Map<number, Entry[]>() };
  useEffect(() => {
    if (turn.value > 0 && mine.total !== null) load(Math.floor(Math.max(0, mine.total - 1) / PAGE));
  }, [turn.value]);
  return {
    ...mine,
    at: (index) => mine.pages.get(Math.floor(index / PAGE))?.[index % PAGE],
    look(from, to) {
      if (mine.total === null) return;
      for (let page = Math.floor(from / PAGE); page <= Math.floor(to / PAGE); page++) {
        const there = mine.pages.get(page)?.length ?? 0;
        if (page * PAGE < mine.total && there < Math.min(PAGE, mine.total - page * PAGE)) load(page);
      }
    },
  };
}
