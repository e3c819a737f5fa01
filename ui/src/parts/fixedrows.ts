// Rows of one height, of which there may be millions: a browser's boxes end near 17 million pixels, so beyond that the bar stands for more.
import type { RefObject } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

/** Taller than this no box is made. */
export const TALLEST = 15_000_000;

export interface FixedRows {
  first: number;
  /** One behind the last. */
  end: number;
  /** Of the box that scrolls. */
  height: number;
  /** Where a row stands in that box. */
  topOf(row: number): number;
  to(row: number, align?: "start" | "center" | "end"): void;
  /** Whether the window goes down to this row. */
  reaches(row: number): boolean;
}

/** Where the window is after a scroll: small steps move it by themselves, large ones go where the bar says. */
export function moved(top: number, from: number, to: number, view: number, all: number, box: number): number {
  const [most, bar] = [Math.max(0, all - view), Math.max(1, box - view)];
  if (to <= 0) return 0;
  if (to >= bar - 1) return most;
  if (all === box) return to;
  return Math.abs(to - from) < 2 * view ? Math.min(most, Math.max(0, top + to - from)) : (to / bar) * most;
}

export function useFixedRows(scroller: RefObject<HTMLElement | null>, count: number, row: number, overscan: number): FixedRows {
  const [, setTurn] = useState(0);
  const at = useRef({ top: 0, scroll: 0, view: 0 });
  const all = count * row;
  const box = Math.min(all, TALLEST);
  useLayoutEffect(() => {
    const node = scroller.current;
    if (!node) return;
    const look = () => {
      const { clientHeight: view, scrollTop: scroll } = node;
      at.current = { top: moved(at.current.top, at.current.scroll, scroll, view, all, box), scroll, view };
      setTurn((turn) => turn + 1);
    };
    look();
    node.addEventListener("scroll", look, { passive: true });
    const observer = new ResizeObserver(look);
    observer.observe(node);
    return () => {
      node.removeEventListener("scroll", look);
      observer.disconnect();
    };
  }, [all, box]);
  const { top, scroll, view } = at.current;
  const first = Math.max(0, Math.floor(top / row) - overscan);
  const end = Math.min(count, Math.ceil((top + view) / row) + overscan);
  return {
    first,
    end,
    height: box,
    topOf: (index) => (all === box ? index * row : index * row - top + scroll),
    to(index, align = "start") {
      const node = scroller.current;
      if (!node) return;
      const { clientHeight } = node;
      const most = Math.max(0, all - clientHeight);
      const shift = { start: 0, center: (clientHeight - row) / 2, end: clientHeight - row }[align];
      const wanted = Math.min(most, Math.max(0, index * row - shift));
      const bar = Math.max(1, box - clientHeight);
      const next = all === box ? wanted : wanted === most ? bar : Math.min(bar - 2, Math.round((wanted / Math.max(1, most)) * bar));
      // The scroll that follows is none of the reader's: it moves nothing further.
      at.current = { top: wanted, scroll: next, view: clientHeight };
      node.scrollTop = next;
      setTurn((turn) => turn + 1);
    },
    reaches: (index) => at.current.top + at.current.view >= index * row,
  };
}
