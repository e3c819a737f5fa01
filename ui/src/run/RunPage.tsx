// One run over the whole page, in parts: overview, charts, output, records, artifacts.
import { useModal } from "../parts/focus";
import { Coded } from "../parts/Coded";
import type { ComponentChild } from "preact";
import { Cards } from "../cards/Cards";
import { Toolbar } from "../cards/Toolbar";
import { known } from "../state/table";
import { change, view } from "../state/view";
import * as client from "../wire/client";
import type { RunAnswer } from "../wire/ofrun";
import { Artifacts } from "./Artifacts";
import { Output } from "./Output";
import { Overview } from "./Overview";
import { useAsked } from "./asking";
import "./run.css";

/** The parts of the page, by the name in the address. */
const PARTS: Record<string, (run: string, said: RunAnswer | null) => ComponentChild> = {
  overview: (run, said) => said && <Overview run={run} said={said} />,
  charts: () => (
    <section class="charts" aria-label="Charts of the run">
      <Toolbar />
      <Cards />
    </section>
  ),
  output: (run) => <Output key="output" run={run} kind="output" />,
  records: (run) => <Output key="records" run={run} kind="" />,
  artifacts: (run) => <Artifacts run={run} />,
};

function Body({ run }: { run: string }) {
  const { found, wrong } = useAsked(run, () => client.config(run), 1);
  const part = view.value.tab in PARTS ? view.value.tab : "overview";
  return (
    <div class="runbody" role="tabpanel" aria-label={part} tabIndex={0}>
      {wrong && (
        <p class="trouble" role="alert">
          <b><Coded text={wrong} /></b>
        </p>
      )}
      {PARTS[part]?.(run, found)}
    </div>
  );
}

export function RunPage() {
  const run = view.value.open;
  const dialog = useModal(run !== null);
  if (run === null) return null;
  const row = known.value.get(run);
  const part = view.value.tab in PARTS ? view.value.tab : "overview";
  const close = () => view.value.open !== null && change({ open: null, tab: "" });
  return (
    <dialog class="runpage" ref={dialog} aria-label={`Run ${run}`} onClose={close}>
      <header>
        <h2 title={run}>{row ? `${row.project}/${row.name}` : run}</h2>
        <span role="tablist" aria-label="Parts of the run">
          {Object.keys(PARTS).map((name) => (
            <button key={name} role="tab" aria-selected={part === name} autofocus={part === name} onClick={() => change({ tab: name === "overview" ? "" : name })}>
              {name}
            </button>
          ))}
        </span>
        <button aria-label="Close" title="Close (Escape)" onClick={close}>
          ✕
        </button>
      </header>
      <Body key={run} run={run} />
    </dialog>
  );
}
