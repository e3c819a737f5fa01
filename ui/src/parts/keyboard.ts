// The keys of the page; in a box that takes text they are text.
import { signal } from "@preact/signals";
import { rows, total } from "../state/table";
import { change, pan, resetZoom, stepOut, view } from "../state/view";
import { at } from "../table/at";
import { toggleBaseline, toggleCompare, toggleRun } from "../table/Table";
import { toggle } from "./theme";

export const help = signal(false);

export const KEYS: [string, string][] = [
  ["/", "which runs"],
  ["f", "filter charts"],
  ["j k", "next, previous run"],
  ["x", "draw or hide the run"],
  ["b", "make the run the baseline"],
  ["o", "open the run: overview, output"],
  ["c", "select the run to compare"],
  ["z", "one zoom step out"],
  ["Z", "all zoom away"],
  ["← →", "move what is zoomed"],
  ["l", "logarithmic y"],
  ["d", "dark or light"],
  ["?", "these keys"],
  ["Escape", "close"],
];

function run(): string | undefined {
  return rows.value.get(at.value)?.run;
}

function withRun(act: (run: string) => void): void {
  const here = run();
  if (here !== undefined) act(here);
}

const ACTS: Record<string, () => void> = {
  "/": () => document.getElementById("where")?.focus(),
  f: () => document.querySelector<HTMLInputElement>(".filter")?.focus(),
  j: () => (at.value = Math.min(at.value + 1, (total.value ?? 0) - 1)),
  k: () => (at.value = Math.max(at.value - 1, 0)),
  x: () => withRun(toggleRun),
  b: () => withRun(toggleBaseline),
  c: () => withRun(toggleCompare),
  o: () => withRun((here) => change({ open: here })),
  z: stepOut,
  Z: resetZoom,
  ArrowLeft: () => pan(-0.25),
  ArrowRight: () => pan(0.25),
  l: () => change({ logY: !view.value.logY }),
  d: toggle,
  "?": () => (help.value = !help.value),
};

export function listen(): void {
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") help.value = false;
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) {
      const box = target as HTMLInputElement;
      if (target.tagName !== "INPUT" || box.type !== "checkbox" || event.ctrlKey || event.metaKey || event.altKey) return;
    }
    const act = ACTS[event.key];
    // Arrows scroll, unless there is a zoom to move.
    if (!act || (event.key.startsWith("Arrow") && !view.value.zoom)) return;
    event.preventDefault();
    act();
  });
}
