import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Slices } from "../src/compare/slices";

class Canvas {
  width = 0;
  height = 0;
  seen: string[] = [];
  getContext() {
    return { setTransform: () => undefined, getImageData: () => undefined, clearRect: () => undefined, drawImage: (from: Canvas) => this.seen.push(from.seen.join("")) };
  }
}

let behind: Canvas;
let clock = 0;
const shown = new Canvas();
const size = { width: 10, height: 10 };

/** A picture of so many parts, each of which takes 5 ms. */
function parts(letter: string, many: number) {
  return function* () {
    behind.seen = [];
    for (let at = 0; at < many; at++) {
      behind.seen.push(letter);
      clock += 5;
      yield undefined;
    }
  };
}

const ask = (slices: Slices, letter: string, many: number) => slices.ask({ shown: shown as unknown as HTMLCanvasElement, size, draw: parts(letter, many) });

describe("a picture that takes long", () => {
  beforeEach(() => {
    behind = new Canvas();
    shown.seen = [];
    clock = 1000;
    vi.useFakeTimers();
    vi.stubGlobal("devicePixelRatio", 1);
    vi.stubGlobal("document", { createElement: () => behind });
    vi.stubGlobal("performance", { now: () => clock });
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it("is drawn in tasks of a few milliseconds, and shown when it is whole", () => {
    const slices = new Slices();
    ask(slices, "a", 7);
    let most = 0;
    for (let tasks = 0; tasks < 10 && shown.seen.length === 0; tasks++) {
      const before = clock;
      vi.advanceTimersToNextTimer();
      most = Math.max(most, clock - before);
    }
    expect(most).toBeLessThanOrEqual(15);
    expect(shown.seen).toEqual(["aaaaaaa"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is shown before what was asked meanwhile; of several only the last is drawn", () => {
    const slices = new Slices();
    ask(slices, "a", 3);
    vi.advanceTimersToNextTimer();
    ask(slices, "b", 3);
    ask(slices, "c", 3);
    vi.runAllTimers();
    expect(shown.seen).toEqual(["aaa", "ccc"]);
  });

  it("that takes too long is shown as far as it is, and gives way to the next", () => {
    const slices = new Slices();
    ask(slices, "a", 1000);
    vi.advanceTimersToNextTimer();
    ask(slices, "b", 2);
    vi.runAllTimers();
    expect(shown.seen.length).toBe(2);
    expect(shown.seen[0]?.length).toBeLessThan(30);
    expect(shown.seen[1]).toBe("bb");
  });

  it("is not drawn any more when its place is gone", () => {
    const slices = new Slices();
    ask(slices, "a", 1000);
    vi.advanceTimersToNextTimer();
    slices.stop();
    expect(vi.getTimerCount()).toBe(0);
    expect(shown.seen).toEqual([]);
  });
});
