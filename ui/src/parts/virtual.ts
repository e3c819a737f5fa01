// Which rows of a long list are on the screen: @tanstack/virtual-core for Preact.
import { type VirtualItem, Virtualizer, elementScroll, observeElementOffset, observeElementRect } from "@tanstack/virtual-core";
import type { RefObject } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

export interface Rows {
  items: VirtualItem[];
  height: number;
  to(index: number): void;
}

export function useRows(scroller: RefObject<HTMLElement | null>, count: number, size: (index: number) => number, sizes: string, overscan = 4): Rows {
  const [, setTurn] = useState(0);
  const kept = useRef<Virtualizer<HTMLElement, HTMLElement> | null>(null);
  const options = {
    count,
    getScrollElement: () => scroller.current,
    estimateSize: size,
    scrollToFn: elementScroll,
    observeElementRect,
    observeElementOffset,
    overscan,
    onChange: () => setTurn((turn) => turn + 1),
  };
  kept.current ??= new Virtualizer<HTMLElement, HTMLElement>(options);
  const virtualizer = kept.current;
  virtualizer.setOptions({ ...virtualizer.options, ...options });
  useLayoutEffect(() => virtualizer._didMount(), [virtualizer]);
  useLayoutEffect(() => virtualizer._willUpdate());
  // Sizes are known, never measured: when they change, all are counted anew.
  useLayoutEffect(() => virtualizer.measure(), [virtualizer, sizes, count]);
  return {
    items: virtualizer.getVirtualItems(),
    height: virtualizer.getTotalSize(),
    to: (index) => virtualizer.scrollToIndex(index, { align: "auto" }),
  };
}
