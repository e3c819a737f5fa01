// Selected runs side by side: what of their configuration differs, and the columns of the table.
import { useEffect, useRef, useState } from "preact/hooks";
import { colourOf, nameOf } from "../cards/look";
import { cell, many } from "../parts/words";
import { columns, known } from "../state/table";
import { change, view } from "../state/view";
import * as client from "../wire/client";
import type { Value } from "../wire/types";
import { type Difference, differences } from "./differences";

const MOST = 20;

function useConfigs(runs: string[]): { found: Record<string, Value>[] | null; wrong: string } {
  const [found, setFound] = useState<Record<string, Value>[] | null>(null);
  const [wrong, setWrong] = useState("");
  const text = JSON.stringify(runs);
  useEffect(() => {
    let stopped = false;
    Promise.all((JSON.parse(text) as string[]).map(client.config)).then(
      (answers) => {
        if (!stopped) setFound(answers.map((one) => (one["config"] ?? {}) as Record<string, Value>));
      },
      (said: unknown) => {
        if (!stopped) setWrong(said instanceof Error ? said.message : String(said));
      },
    );
    return () => {
      stopped = true;
    };
  }, [text]);
  return { found, wrong };
}

function Rows({ title, rows }: { title: string; rows: Difference[] }) {
  return (
    <>
      <tr class="part">
        <th scope="rowgroup" colSpan={99}>
          {title}
        </th>
      </tr>
      {rows.map((row) => (
        <tr key={row.name}>
          <th scope="row">{row.name}</th>
          {row.values.map((value, at) => (
            <td key={at}>{cell(value, row.name)}</td>
          ))}
        </tr>
      ))}
    </>
  );
}

export function Compare({ close }: { close: () => void }) {
  const runs = view.value.compare.slice(0, MOST);
  const dialog = useRef<HTMLDialogElement>(null);
  const { found, wrong } = useConfigs(runs);
  useEffect(() => {
    if (!dialog.current?.open) dialog.current?.showModal();
  });
  const shown = columns.value;
  const values: Difference[] = shown.map((name, at) => ({ name, values: runs.map((run) => known.value.get(run)?.values[at]) }));
  const differ = found?.length === runs.length ? differences(found) : null;
  return (
    <dialog class="compare" ref={dialog} aria-label="Compare" onClose={close}>
      <header>
        <h2>{runs.length} runs</h2>
        {view.value.compare.length > MOST && <span class="warn">the first {MOST} of {view.value.compare.length}</span>}
        <button aria-label="Close" title="Close (Escape)" onClick={close}>
          ✕
        </button>
      </header>
      <div class="comparescroll" tabIndex={0} role="region" aria-label="Differences">
        <table>
          <thead>
            <tr>
              <td />
              {runs.map((run) => (
                <th scope="col" key={run}>
                  <i style={{ background: colourOf(run) }} /> {nameOf(run)}
                  <button class="tool" title="Not this one" aria-label={`Remove ${run}`} onClick={() => change({ compare: view.value.compare.filter((one) => one !== run) })}>
                    ✕
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            <Rows title="columns of the table" rows={values} />
            {differ && <Rows title={differ.rows.length ? "configuration that differs" : "no difference in the configuration"} rows={differ.rows} />}
            {differ && differ.same > 0 && (
              <tr class="part">
                <th colSpan={99}>{many(differ.same, "value")} of the configuration {differ.same === 1 ? "is" : "are"} the same in all</th>
              </tr>
            )}
          </tbody>
        </table>
        {wrong && (
          <p class="trouble" role="alert">
            <b>{wrong}</b>
          </p>
        )}
      </div>
    </dialog>
  );
}
