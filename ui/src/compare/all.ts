// The values of all runs that match the query, up to 10,000, a page at a time; how many there are is always told.
import { useEffect, useState } from "preact/hooks";
import { messageOf } from "../parts/words";
import { listed } from "../state/table";
import { view } from "../state/view";
import * as client from "../wire/client";
import type { RunRow } from "../wire/types";

export const MOST = 10_000;
const [PAGE, AGAIN_SECS] = [1000, 5];

export interface AllRuns {
  rows: RunRow[];
  /** The columns whose values the rows have. */
  columns: string[];
  total: number | null;
  loading: boolean;
  wrong: string;
}

/** The rows with these columns; what was there stays until the first page of an answer is. */
export function useAllRuns(columns: string[]): AllRuns {
  const [state, setState] = useState<AllRuns>({ rows: [], columns: [], total: null, loading: true, wrong: "" });
  const { where, archived } = view.value;
  const question = JSON.stringify({ where, archived, columns });
  const [last, setLast] = useState({ question: "", at: 0 });
  const news = listed.value;
  useEffect(() => {
    const stop = new AbortController();
    const wait = last.question === question ? last.at + AGAIN_SECS * 1000 - Date.now() : 0;
    const load = async () => {
      setLast({ question, at: Date.now() });
      setState((before) => ({ ...before, loading: true }));
      const found: RunRow[] = [];
      try {
        for (let offset = 0; offset < MOST; offset += PAGE) {
          const answer = await client.runs({ ...(where ? { where } : {}), archived, columns, offset, limit: PAGE }, stop.signal);
          if (stop.signal.aborted) return;
          found.push(...answer.rows);
          const done = found.length >= Math.min(answer.total, MOST) || answer.rows.length === 0;
          const fewer = !done && last.question === question; // asked again: the picture does not shrink meanwhile
          if (!fewer) setState({ rows: [...found], columns, total: answer.total, loading: !done, wrong: "" });
          if (done) return;
        }
      } catch (said) {
        if (!stop.signal.aborted) setState((before) => ({ ...before, loading: false, wrong: messageOf(said) }));
      }
    };
    const timer = setTimeout(() => void load(), Math.max(0, wait));
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [question, news]);
  return state;
}
