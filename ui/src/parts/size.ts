// How large an element is inside, followed as it changes.
import type { RefObject } from "preact";
import { useLayoutEffect, useState } from "preact/hooks";

export interface Size {
  width: number;
  height: number;
}

/** `there` changes where the element comes to the page, or goes, while the component stays. */
export function useSize(place: RefObject<HTMLElement | null>, there: unknown = true): Size {
  const [size, setSize] = useState<Size>({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const node = place.current;
    if (!node) return;
    const measure = () => {
      const [width, height] = [node.clientWidth, node.clientHeight];
      setSize((before) => (before.width === width && before.height === height ? before : { width, height }));
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(node);
    return () => observer.disconnect();
  }, [there]);
  return size;
}
