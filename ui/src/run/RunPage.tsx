// One run: why it failed, what it was started with, its configuration and summary, what it printed.
import { useEffect, useRef, useState } from "preact/hooks";
import { cell, moment, seconds } from "../parts/words";
import { known } from "../state/table";
import { change, view } from "../state/view";
import { flat } from "../table/differences";
import * as client from "../wire/client";
import type { Value } from "../wire/types";
import { EditRun } from "../edit/EditRun";
import { Output } from "./Output";
import { turn } from "./news";

type Said = Record<string, Value>;

const of = (value: Value | undefined): Said => (typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Said) : {});

function Pairs({ title, rows, search = false }: { title: string; rows: [string, Value][]; search?: boolean }) {
  const [text, setText] = useState("");
  const kept = rows.filter(([name, value]) => `${name} ${cell(value, name)}`.toLowerCase().includes(text.toLowerCase()));
  if (rows.length === 0) return null;
  return (
    <section>
      <h3>
        {title}{" "}
        {search && rows.length > 8 && <input type="search" placeholder="search" aria-label={`Search ${title}`} value={text} onInput={(event) => setText(event.currentTarget.value)} />}
      </h3>
      <table>
        <tbody>
          {kept.slice(0, 2000).map(([name, value]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>{cell(value, name)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Overview({ said }: { said: Said }) {
  const meta = of(said["meta"]);
  const time = (name: string) => (typeof meta[name] === "string" ? new Date(meta[name]) : null);
  const [started, ended] = [time("started"), time("ended")];
  const facts: [string, Value][] = [
    ["state", said["state"] ?? ""],
    ["started", started ? moment(started) : null],
    ["duration", started && ended ? seconds((ended.getTime() - started.getTime()) / 1000) : null],
    ["command", meta["command"] ?? null],
    ["commit", meta["commit"] ?? null],
    ["host", meta["host"] ?? null],
    ["Python", meta["python"] ?? null],
    ["ranks", Array.isArray(meta["ranks"]) ? String(meta["ranks"].length) : null],
    ["attempts", meta["attempts"] ?? null],
    ["group", said["group"] ?? null],
    ["tags", said["tags"] ?? null],
    ["notes", said["notes"] ?? null],
  ];
  const losses = Array.isArray(said["losses"]) ? said["losses"] : [];
  return (
    <div class="overview">
      {said["problem"] ? (
        <p class="trouble" role="alert">
          <b>{String(said["problem"])}</b>
        </p>
      ) : null}
      {losses.length > 0 && (
        <section>
          <h3>lost</h3>
          {losses.map((one, at) => (
            <p class="warn" key={at}>
              {cell(one, "")}
            </p>
          ))}
        </section>
      )}
      <Pairs title="run" rows={facts.filter(([, value]) => value !== null && value !== "" && !(Array.isArray(value) && value.length === 0))} />
      <Pairs title="summary" rows={[...flat(of(said["summary"]), "", new Map())]} search />
      <Pairs title="configuration" rows={[...flat(of(said["config"]), "", new Map())]} search />
    </div>
  );
}

/** The traceback of a run that failed, of its last end. */
function useFailure(run: string, failed: boolean): string {
  const [text, setText] = useState("");
  useEffect(() => {
    setText("");
    if (!failed) return;
    client.records(run, "finish", "", 0, 1000).then(
      (answer) => {
        const last = of(answer.records.at(-1)?.value);
        setText(String(last["traceback"] ?? last["error"] ?? ""));
      },
      () => undefined,
    );
  }, [run, failed]);
  return text;
}

const TABS = ["overview", "output", "records"] as const;

export function RunPage() {
  const run = view.value.open;
  const dialog = useRef<HTMLDialogElement>(null);
  const [said, setSaid] = useState<Said | null>(null);
  const [wrong, setWrong] = useState("");
  const [tab, setTab] = useState<(typeof TABS)[number]>("overview");
  useEffect(() => {
    if (run !== null && !dialog.current?.open) dialog.current?.showModal();
  }, [run]);
  useEffect(() => {
    if (run === null) return;
    client.config(run).then(
      (answer) => {
        setSaid(answer);
        setWrong("");
      },
      (problem: unknown) => setWrong(problem instanceof Error ? problem.message : String(problem)),
    );
  }, [run, turn.value]);
  useEffect(() => {
    setSaid(null);
    setTab("overview");
  }, [run]);
  const failure = useFailure(run ?? "", run !== null && (said?.["state"] === "failed" || said?.["state"] === "crashed"));
  if (run === null) return null;
  const row = known.value.get(run);
  const close = () => view.value.open !== null && change({ open: null });
  return (
    <dialog class="runpage" ref={dialog} aria-label={`Run ${run}`} onClose={close}>
      <header>
        <h2>{row ? `${row.project}/${row.name}` : run}</h2>
        <span role="tablist" aria-label="Parts of the run">
          {TABS.map((name) => (
            <button key={name} role="tab" aria-selected={tab === name} onClick={() => setTab(name)}>
              {name}
            </button>
          ))}
        </span>
        <button aria-label="Close" title="Close (Escape)" onClick={close}>
          ✕
        </button>
      </header>
      <div class="runbody" role="tabpanel" aria-label={tab} tabIndex={0}>
        {wrong && (
          <p class="trouble" role="alert">
            <b>{wrong}</b>
          </p>
        )}
        {tab === "overview" && failure && <pre class="failure">{failure}</pre>}
        {tab === "overview" && said && <EditRun key={run} run={run} tags={(said["tags"] ?? []) as string[]} notes={String(said["notes"] ?? "")} />}
        {tab === "overview" ? said && <Overview said={said} /> : <Output key={tab} run={run} kind={tab === "output" ? "output" : ""} />}
      </div>
    </dialog>
  );
}
