// Selected runs side by side: their summary with the best, the worst and the difference to the baseline; what differs in their configuration.
import { useEffect, useState } from "preact/hooks";
import { colourOf, nameOf } from "../cards/look";
import { cell, count, many, messageOf, number } from "../parts/words";
import { columns, known } from "../state/table";
import { change, view } from "../state/view";
import { written } from "../table/complete";
import { type Difference, differences, flat } from "../table/differences";
import * as client from "../wire/client";
import { numberOf } from "../wire/decode";
import type { Said } from "../wire/ofrun";
import type { Value } from "../wire/types";
import { direction, marks, turned } from "./better";

export const MOST = 20;
const MOST_KEYS = 100;
type Part = "last" | "min" | "max";

interface Found {
  configs: Said[];
  summaries: Said[];
  keys: string[];
}

/** What does not change with the part that is looked at. */
function useFound(runs: string[]): { found: Found | null; wrong: string } {
  const [state, setState] = useState<{ found: Found | null; wrong: string }>({ found: null, wrong: "" });
  const text = JSON.stringify(runs);
  useEffect(() => {
    let stopped = false;
    const ids = JSON.parse(text) as string[];
    Promise.all([Promise.all(ids.map(client.config)), client.keys(ids)]).then(
      ([answers, keys]) => {
        const numbers = keys.keys.filter((_, at) => keys.kinds[at] === "number");
        if (!stopped) setState({ found: { configs: answers.map((one) => one.config), summaries: answers.map((one) => one.summary), keys: numbers }, wrong: "" });
      },
      (said: unknown) => {
        if (!stopped) setState((before) => ({ ...before, wrong: messageOf(said) }));
      },
    );
    return () => {
      stopped = true;
    };
  }, [text]);
  return state;
}

/** One part of some metrics, by run. */
function useMetrics(runs: string[], keys: string[], part: Part): Difference[] {
  const [rows, setRows] = useState<Difference[]>([]);
  const question = JSON.stringify([runs, keys, part]);
  useEffect(() => {
    const stop = new AbortController();
    if (keys.length === 0) setRows([]);
    else
      client.runs({ ids: runs, archived: true, columns: keys.map((key) => written(`${key}.${part}`)), limit: MOST }, stop.signal).then(
        (answer) => {
          const byRun = new Map(answer.rows.map((row) => [row.run, row.values]));
          setRows(keys.map((name, at) => ({ name, values: runs.map((run) => byRun.get(run)?.[at] ?? undefined) })));
        },
        () => undefined,
      );
    return () => stop.abort();
  }, [question]);
  return rows;
}

const asNumber = (value: Value | undefined) => (typeof value === "number" || (typeof value === "object" && value !== null && !Array.isArray(value)) ? numberOf(value) : NaN);

function Title({ text }: { text: string }) {
  return (
    <tr class="part">
      <th scope="rowgroup" colSpan={99}>
        {text}
      </th>
    </tr>
  );
}

function Plain({ rows }: { rows: Difference[] }) {
  return (
    <>
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

const WAYS = { "1": ["▲ more is better", "▲"], "-1": ["▼ less is better", "▼"], "0": ["nobody said whether more or less is better", "·"] } as const;

function Measured({ rows, base }: { rows: Difference[]; base: number }) {
  const { better } = view.value;
  return (
    <>
      {rows.map((row) => {
        const numbers = row.values.map(asNumber);
        const way = direction(row.name, better);
        const [title, sign] = WAYS[String(way) as "1" | "-1" | "0"];
        const marked = marks(numbers, way);
        return (
          <tr key={row.name}>
            <th scope="row">
              {row.name}{" "}
              <button class="tool" title={`${title}; click for another way`} aria-label={`${row.name}: ${title}`} onClick={() => change({ better: turned(row.name, better) })}>
                {sign}
              </button>
            </th>
            {row.values.map((value, at) => {
              const delta = (numbers[at] ?? NaN) - (numbers[base] ?? NaN);
              return (
                <td key={at} class={marked[at] ?? ""} title={marked[at] ?? ""}>
                  {marked[at] === "best" ? "★ " : marked[at] === "worst" ? "▽ " : ""}
                  {cell(value, row.name)}
                  {at !== base && Number.isFinite(delta) && <small class="delta">{delta === 0 ? "=" : `${delta > 0 ? "+" : "−"}${number(Math.abs(delta), 3)}`}</small>}
                </td>
              );
            })}
          </tr>
        );
      })}
    </>
  );
}

export function SideBySide() {
  const runs = view.value.compare.slice(0, MOST);
  const { found, wrong } = useFound(runs);
  const [part, setPart] = useState<Part>("last");
  const [filter, setFilter] = useState("");
  const matching = (found?.keys ?? []).filter((key) => key.toLowerCase().includes(filter.toLowerCase()));
  const metrics = useMetrics(runs, matching.slice(0, MOST_KEYS), part);
  if (runs.length === 0) return <p class="nothing">No run is selected. The box in front of a run selects it; scatter and parallel coordinates show all runs.</p>;
  const base = Math.max(0, runs.indexOf(view.value.baseline ?? ""));
  const values: Difference[] = columns.value.map((name, at) => ({ name, values: runs.map((run) => known.value.get(run)?.values[at]) }));
  const differ = found?.configs.length === runs.length ? differences(found.configs) : null;
  const summaries = found?.summaries.length === runs.length ? found.summaries.map((one) => flat(one, "", new Map())) : [];
  const set: Difference[] = [...new Set(summaries.flatMap((one) => [...one.keys()]))].sort().map((name) => ({ name, values: summaries.map((one) => one.get(name)) }));
  return (
    <div class="comparescroll" tabIndex={0} role="region" aria-label="Differences">
      <div class="poprow">
        <label>
          metrics' <Choice value={part} onPick={setPart} />
        </label>
        <input type="search" placeholder="filter metrics" aria-label="Filter metrics" value={filter} onInput={(event) => setFilter(event.currentTarget.value)} />
        <span class="quiet">
          {found ? many(matching.length, "metric") : "Loading…"}
          {matching.length > MOST_KEYS && `, the first ${MOST_KEYS} are shown`}. Differences are to {nameOf(runs[base] ?? "")}; ★ is the best, ▽ the worst.
        </span>
      </div>
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
          {set.length > 0 && <Title text="summary" />}
          <Measured rows={set} base={base} />
          {metrics.length > 0 && <Title text={`metrics, ${{ last: "last value", min: "smallest value", max: "largest value" }[part]}`} />}
          <Measured rows={metrics} base={base} />
          <Title text="columns of the table" />
          <Plain rows={values} />
          {differ && <Title text={differ.rows.length ? "configuration that differs" : "no difference in the configuration"} />}
          {differ && <Plain rows={differ.rows} />}
          {differ && differ.same > 0 && <Title text={`${many(differ.same, "value")} of the configuration ${differ.same === 1 ? "is" : "are"} the same in all`} />}
        </tbody>
      </table>
      {view.value.compare.length > MOST && (
        <p class="warn">
          The first {MOST} of {count(view.value.compare.length)} selected runs are shown.
        </p>
      )}
      {wrong && (
        <p class="trouble" role="alert">
          <b>{wrong}</b>
        </p>
      )}
    </div>
  );
}

function Choice({ value, onPick }: { value: Part; onPick: (part: Part) => void }) {
  return (
    <select value={value} aria-label="Which value of a metric" onChange={(event) => onPick(event.currentTarget.value as Part)}>
      <option value="last">last value</option>
      <option value="min">smallest value</option>
      <option value="max">largest value</option>
    </select>
  );
}
