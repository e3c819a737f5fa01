// Many lines drawn behind the picture that is shown, a slice of time at once, so that the page never waits for them.
import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Size } from "../parts/size";

const [SLICE_MS, SHOWN_MS] = [8, 120];

/** Draws a part of the picture with each `next`. */
export type Parts = (context: CanvasRenderingContext2D) => Generator<undefined>;

interface Wish {
  shown: HTMLCanvasElement;
  size: Size;
  draw: Parts;
}

export class Slices {
  private readonly behind = document.createElement("canvas");
  private context: CanvasRenderingContext2D | null = null;
  private next: Wish | null = null;
  private now: Wish | null = null;
  private parts: Generator<undefined> | null = null;
  private began = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** What was asked before and is not begun is not drawn; what is begun is shown first, finished or not. */
  ask(wish: Wish): void {
    this.next = wish;
    this.timer ??= setTimeout(this.step, 0);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.now = this.next = null;
  }

  private readonly step = (): void => {
    const late = performance.now() - this.began > SHOWN_MS;
    if (this.now && late) {
      this.show();
      this.began = performance.now();
    }
    if (this.next && (!this.now || late)) this.begin(this.next);
    const { context, parts } = this;
    let done = true;
    const until = performance.now() + SLICE_MS;
    if (context && parts)
      do {
        done = parts.next().done === true;
        context.getImageData(0, 0, 1, 1); // without it all is drawn in one task at the end
      } while (!done && performance.now() < until);
    if (done) {
      this.show();
      this.now = this.parts = null;
    }
    this.timer = this.now || this.next ? setTimeout(this.step, 0) : undefined;
  };

  private begin(wish: Wish): void {
    this.now = wish;
    this.next = null;
    this.began = performance.now();
    const ratio = Math.max(1, devicePixelRatio);
    [this.behind.width, this.behind.height] = [Math.round(wish.size.width * ratio), Math.round(wish.size.height * ratio)];
    this.context = this.behind.getContext("2d", { willReadFrequently: true });
    this.context?.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.parts = this.context && wish.draw(this.context);
  }

  private show(): void {
    const { now, behind } = this;
    const context = now?.shown.getContext("2d");
    if (!now || !context || behind.width === 0 || behind.height === 0) return;
    if (now.shown.width !== behind.width) now.shown.width = behind.width;
    if (now.shown.height !== behind.height) now.shown.height = behind.height;
    context.clearRect(0, 0, behind.width, behind.height);
    context.drawImage(behind, 0, 0);
  }
}

/** A canvas on which `draw` draws in units of the page; while it draws, what was there before stands. */
export function useSlices(size: Size, draw: Parts, about: unknown[]): RefObject<HTMLCanvasElement | null> {
  const canvas = useRef<HTMLCanvasElement>(null);
  const slices = useRef<Slices | null>(null);
  useEffect(() => {
    slices.current ??= new Slices();
    if (canvas.current && size.width > 0 && size.height > 0) slices.current.ask({ shown: canvas.current, size, draw });
  }, [size.width, size.height, ...about]);
  useEffect(() => () => slices.current?.stop(), []);
  return canvas;
}
