// Runs compared over the whole page: selected ones side by side, all of them as points or as lines over axes.
import { useModal } from "../parts/focus";
import { change, view } from "../state/view";
import { Parallel } from "./Parallel";
import { Scatter } from "./Scatter";
import { SideBySide } from "./SideBySide";
import "./compare.css";

const PLOTS = { side: ["side by side", SideBySide], scatter: ["scatter", Scatter], parallel: ["parallel coordinates", Parallel] } as const;

export function Compare() {
  const dialog = useModal(true);
  const { plot, compare } = view.value;
  const name = plot in PLOTS ? (plot as keyof typeof PLOTS) : "side";
  const Plot = PLOTS[name][1];
  const close = () => view.value.plot !== "" && change({ plot: "" });
  return (
    <dialog class="compare" ref={dialog} aria-label="Compare" onClose={close}>
      <header>
        <h2>{name === "side" ? `${compare.length} selected ${compare.length === 1 ? "run" : "runs"}` : view.value.where ? "runs that match" : "all runs"}</h2>
        <span role="tablist" aria-label="How to compare">
          {Object.entries(PLOTS).map(([key, [title]]) => (
            <button key={key} role="tab" aria-selected={key === name} autofocus={key === name} onClick={() => change({ plot: key })}>
              {title}
            </button>
          ))}
        </span>
        <button aria-label="Close" title="Close (Escape)" onClick={close}>
          ✕
        </button>
      </header>
      <Plot />
    </dialog>
  );
}
