// An answer about a run, asked again when the run has news, not more often than every few seconds.
import { useEffect, useRef, useState } from "preact/hooks";
import { messageOf } from "../parts/words";
import { turn } from "./news";

export interface Asked<T> {
  found: T | null;
  wrong: string;
}

/**
 * What `ask` answers; `about` says of what. While that stays the same, the last answer stands until the next is there.
 *
 * @param everySecs between two questions.
 */
export function useAsked<T>(about: string, ask: () => Promise<T>, everySecs = 2): Asked<T> {
  const [state, setState] = useState<Asked<T> & { of: string }>({ of: about, found: null, wrong: "" });
  const last = useRef({ of: "", at: 0 });
  useEffect(() => {
    const wait = last.current.of === about ? last.current.at + everySecs * 1000 - Date.now() : 0;
    const timer = setTimeout(
      () => {
        last.current = { of: about, at: Date.now() };
        ask().then(
          (found) => {
            if (last.current.of === about) setState({ of: about, found, wrong: "" });
          },
          (said: unknown) => {
            const wrong = messageOf(said);
            if (last.current.of === about) setState((before) => ({ of: about, found: before.of === about ? before.found : null, wrong }));
          },
        );
      },
      Math.max(0, wait),
    );
    return () => {
      clearTimeout(timer);
    };
  }, [about, turn.value]);
  return state.of === about ? state : { found: null, wrong: "" };
}
