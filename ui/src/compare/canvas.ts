// A canvas that fills its place, sharp on any screen, drawn anew when its size or what it shows changes.
import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Size } from "../parts/size";

/** A canvas on which `draw` draws in units of the page, once a frame at most. */
export function useCanvas(size: Size, draw: (context: CanvasRenderingContext2D) => void, about: unknown[]): RefObject<HTMLCanvasElement | null> {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const frame = requestAnimationFrame(() => {
      const node = canvas.current;
      const context = node?.getContext("2d");
      if (!node || !context || size.width === 0) return;
      const ratio = Math.max(1, devicePixelRatio);
      const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
      if (node.width !== width) node.width = width;
      if (node.height !== height) node.height = height;
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, size.width, size.height);
      draw(context);
    });
    return () => cancelAnimationFrame(frame);
  }, [size.width, size.height, ...about]);
  return canvas;
}

export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
