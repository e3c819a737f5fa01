// The first tab of a run: why it failed, what it is, how its machinery is, its summary and its configuration.
import { EditRun } from "../edit/EditRun";
import { Coded } from "../parts/Coded";
import { cell, count, many, moment, seconds } from "../parts/words";
import type { AttemptRow, FailureRow, RunAnswer, Said } from "../wire/ofrun";
import type { Value } from "../wire/types";
import { Health } from "./Health";
import { Tree } from "./Tree";

const when = (value: Value | undefined): Date | null => (typeof value === "string" ? new Date(value) : null);

function length(from: Date | null, to: Date | null): string {
  return from && to ? seconds((to.getTime() - from.getTime()) / 1000) : "";
}

function commit(git: Said): string {
  if (!git["commit"]) return "";
  const branch = git["branch"] ? ` (${cell(git["branch"], "")})` : "";
  const changes = git["dirty"] === true ? ", with changes that are not in it" : git["dirty"] === false ? "" : ", whether with changes is not known";
  return `${String(git["commit"])}${branch}${changes}`;
}

function Failures({ rows }: { rows: FailureRow[] }) {
  const [first, ...more] = rows;
  if (!first) return null;
  const head = (one: FailureRow) => `rank ${one.rank}${one.step === null ? "" : `, step ${count(one.step)}`}${one.time ? `, ${moment(new Date(one.time))}` : ""}`;
  return (
    <section class="failures" aria-label="Why it failed">
      {more.length > 0 && <h3>{head(first)} failed first</h3>}
      <pre class="failure" tabIndex={0}>
        {first.traceback ?? first.error}
      </pre>
      {more.map((one, at) => (
        <details key={at}>
          <summary>
            {head(one)}: {(one.error ?? one.traceback ?? "").split("\n").at(-1)}
          </summary>
          <pre class="failure">{one.traceback ?? one.error}</pre>
        </details>
      ))}
    </section>
  );
}

function outcome(one: AttemptRow, last: boolean, state: string): string {
  if (last && one.ends < one.processes) return state;
  if (one.failed) return one.processes > 1 ? `${count(one.failed)} of ${count(one.processes)} processes failed` : "failed";
  if (one.ends >= one.processes && one.processes > 0) return "finished";
  return one.processes === 0 ? "" : `${count(one.processes - one.ends)} of ${many(one.processes, "process").replace("processs", "processes")} did not say its end`;
}

const COLUMNS = ["started", "ended", "lasted", "world size", "hosts", "rewound to", "outcome"];

function columnsOf(one: AttemptRow, last: boolean, state: string): string[] {
  const [started, ended] = [when(one.started), when(one.ended)];
  const hosts = one.hosts.join(", ") + (one.more_hosts > 0 ? ` and ${count(one.more_hosts)} more` : "");
  return [
    started ? moment(started) : "",
    ended ? moment(ended) : "",
    length(started, ended),
    String(one.world_size ?? ""),
    hosts,
    one.rewind === null ? "" : `step ${count(one.rewind)}`,
    outcome(one, last, state),
  ];
}

function Attempts({ rows, state }: { rows: AttemptRow[]; state: string }) {
  if (rows.length === 0) return null;
  return (
    <section class="attempts">
      <h3>attempts</h3>
      <div class="wide">
        <table aria-label="Attempts" role="table">
          <thead role="rowgroup">
            <tr role="row">
              {["", ...COLUMNS].map((one) => (
                <th scope="col" role="columnheader" key={one}>
                  {one}
                </th>
              ))}
            </tr>
          </thead>
          <tbody role="rowgroup">
            {rows.map((one, at) => (
              <tr key={one.attempt} role="row">
                <th scope="row" role="rowheader">
                  {one.attempt}
                </th>
                {columnsOf(one, at === rows.length - 1, state).map((text, column) => (
                  // On a phone an attempt is a list, and each value has its name beside it.
                  <td key={column} role="cell" data-of={COLUMNS[column]}>
                    {text}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Facts({ rows }: { rows: [string, Value][] }) {
  return (
    <section>
      <h3>run</h3>
      <table aria-label="Facts">
        <tbody>
          {rows.map(([name, value]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>{name === "command" ? <code>{cell(value, name)}</code> : cell(value, name)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

export function Overview({ run, said }: { run: string; said: RunAnswer }) {
  const { meta } = said;
  const [started, ended] = [when(meta["started"]), when(meta["ended"])];
  const git = typeof meta["git"] === "object" && meta["git"] !== null && !Array.isArray(meta["git"]) ? (meta["git"] as Said) : {};
  const ranks = Array.isArray(meta["ranks"]) ? meta["ranks"].length : 0;
  const facts: [string, Value][] = [
    ["state", said.state + (said.archived ? ", archived" : "")],
    ["started", started ? moment(started) : null],
    ["duration", length(started, ended) || (started && said.state === "running" ? `${length(started, new Date())} so far` : "")],
    ["command", meta["command"] ?? null],
    ["commit", commit(git)],
    ["host", meta["host"] ?? null],
    ["Python", meta["python"] ?? null],
    ["ranks", ranks > 1 ? String(ranks) : null],
    ["records", typeof meta["records"] === "number" ? `${count(meta["records"])}, with ${many(Number(meta["points"] ?? 0), "point")}` : null],
    ["group", said.group],
    ["tags", said.tags],
    ["notes", said.notes],
    ["id", meta["id"] ?? null],
  ];
  const failed = said.state === "failed" || said.state === "crashed";
  return (
    <div class="overview">
      {failed && said.failures.length > 0 && <Failures rows={said.failures} />}
      {said.state === "crashed" && said.failures.length === 0 && <p class="warn">It ended without a word: its process was killed, or its machine went away. What it had logged is here.</p>}
      <EditRun key={run} run={run} tags={said.tags} notes={said.notes} />
      {said.problem ? (
        <div class="trouble" role="alert">
          <b>This run is damaged.</b> What can be read of it is shown.
          <p><Coded text={said.problem} /></p>
        </div>
      ) : null}
      <div class="columns">
        <Facts rows={facts.filter(([, value]) => value !== null && value !== "" && !(Array.isArray(value) && value.length === 0))} />
        <Health run={run} losses={said.losses} unposted={said.unposted} />
      </div>
      <Attempts rows={said.attempts} state={said.state} />
      <Tree title="summary" value={said.summary} />
      <Tree title="configuration" value={said.config} />
    </div>
  );
}
