// The table of runs: 10,000 rows of which those on the screen are in the document; sorted and filtered by the server.
import { useEffect, useRef, useState } from "preact/hooks";
import { Coded } from "../parts/Coded";
import { colourLegend, colourOf } from "../cards/look";
import { useRows } from "../parts/virtual";
import { cell, number, seconds } from "../parts/words";
import { toggled } from "../state/shown";
import { all, baselineRow, columns, inTable, look, marked, markedSet, problem, rows, total } from "../state/table";
import { change, view } from "../state/view";
import { numberOf } from "../wire/decode";
import { InCell, inCell } from "../edit/InCell";
import { EditRuns } from "../edit/EditRuns";
import { mayEdit } from "../edit/edits";
import { inFile } from "../wire/file";
import type { RunRow, Value } from "../wire/types";
import { at } from "./at";
import { Columns } from "./Columns";

const ROW = 30;

const isNumber = (value: Value | undefined) => typeof value === "number" || (typeof value === "object" && value !== null && "$" in value);

/** Of a column, while the row has the columns that are shown. */
const value = (one: RunRow, name: string) => (one.values.length === columns.value.length ? one.values[columns.value.indexOf(name)] : undefined);

/** A moment of this year without the year, which its title has: names need the room. */
function shortly(value: Value | undefined, column: string): string {
  const text = cell(value, column);
  const year = `${new Date().getFullYear()}-`;
  return column === "started" && text.startsWith(year) ? text.slice(year.length) : text;
}

function Delta({ value, base, column }: { value: Value | undefined; base: Value | undefined; column: string }) {
  if (column === "started" || !isNumber(value) || !isNumber(base)) return null;
  const delta = numberOf(value) - numberOf(base);
  if (!Number.isFinite(delta)) return null;
  const text = column === "duration" ? seconds(Math.abs(delta)) : number(Math.abs(delta), 3);
  return <small class="delta">{delta === 0 ? "=" : `${delta > 0 ? "+" : "−"}${text}`}</small>;
}

function State({ row }: { row: RunRow }) {
  const stalled = row.stalled !== null && row.stalled !== undefined;
  const word = stalled ? "stalled" : row.gone ? "gone" : row.state || "new";
  const title = stalled ? `no record for ${seconds(row.stalled ?? 0)}` : row.gone ? "Its writer is not there any more, and nobody saw how it ended" : word;
  return (
    <span class={`state ${word}`} title={title}>
      {word}
    </span>
  );
}

export function toggleRun(run: string): void {
  change({ shown: toggled(view.peek().shown, run, inTable.peek()) });
}

export function toggleBaseline(run: string): void {
  change({ baseline: view.peek().baseline === run ? null : run });
}

export function toggleCompare(run: string): void {
  const { compare } = view.peek();
  change({ compare: compare.includes(run) ? compare.filter((one) => one !== run) : [...compare, run] });
}

function Row({ row, index, top, pinned }: { row: RunRow; index: number; top: number; pinned?: boolean }) {
  const { columns: visible, baseline, compare } = view.value;
  const drawn = markedSet.value.has(row.run);
  const base = baselineRow.value;
  const full = `${row.project}/${row.name}`;
  return (
    <div
      role="row"
      aria-rowindex={index + 2}
      class={`row${row.run === baseline ? " baseline" : ""}${at.value === index && !pinned ? " at" : ""}${row.archived ? " archived" : ""}`}
      style={pinned ? {} : { position: "absolute", top: `${top}px` }}
      data-run={row.run}
      onClick={() => {
        at.value = index;
      }}
    >
      <span role="cell" class="pick">
        <input type="checkbox" aria-label={`Compare ${full}`} checked={compare.includes(row.run)} onChange={() => toggleCompare(row.run)} />
        <button class="eye" aria-pressed={drawn} aria-label={`Draw ${full}`} title={drawn ? "Drawn; click to hide" : "Hidden; click to draw"} onClick={() => toggleRun(row.run)}>
          <i style={drawn ? { background: colourOf(row.run), borderColor: colourOf(row.run) } : {}} />
        </button>
      </span>
      <span role="cell" class="name" title={row.problem ? `${full}: ${row.problem}` : full}>
        {row.problem && <span class="warn">⚠ </span>}
        <button class="open" disabled={inFile() !== null} title={`${full}: overview and output (o)`} onClick={() => change({ open: row.run })}>
          {row.project && <small>{row.project}/</small>}
          {row.name}
        </button>
        {!pinned && inCell("name", row.name) && <InCell run={row.run} field="name" value={row.name} />}
      </span>
      <span role="cell" class="statecell">
        <State row={row} />
        <button class="pin" aria-pressed={row.run === baseline} aria-label={`Baseline ${full}`} title="Baseline: the others show their difference to it" onClick={() => toggleBaseline(row.run)}>
          ⚑
        </button>
      </span>
      {visible.map((name) => (
        <span role="cell" key={name} class={isNumber(value(row, name)) ? "cell number" : "cell"} title={cell(value(row, name), name)}>
          {shortly(value(row, name), name)}
          {!pinned && inCell(name, value(row, name)) && <InCell run={row.run} field={name as "tags"} value={value(row, name)} />}
          {base && base.run !== row.run && <Delta value={value(row, name)} base={value(base, name)} column={name} />}
        </span>
      ))}
    </div>
  );
}

function Head() {
  const { sort, columns: visible } = view.value;
  const sorted = (name: string) => (sort === name ? "ascending" : sort === `-${name}` ? "descending" : "none");
  // Down first for numbers of a result, up for names; then the other way; then as it was.
  const next = (name: string) => change({ sort: sort === name ? `-${name}` : sort === `-${name}` ? "" : name });
  // The name of a column stands over its values: numbers are to the right.
  const numbers = (name: string) => [...rows.value.values()].slice(0, 20).some((row) => isNumber(value(row, name)));
  const title = (name: string, word = name) => (
    <span role="columnheader" key={name} class={name === "name" ? "name" : name === "state" ? "statecell" : numbers(name) ? "cell number" : "cell"} aria-sort={sorted(name)}>
      <button onClick={() => next(name)} title={`Sort by ${word}`}>
        {word}
        {sort === name ? " ▲" : sort === `-${name}` ? " ▼" : ""}
      </button>
      {name !== "name" && name !== "state" && (
        <button class="away" aria-label={`Hide column ${word}`} title="Hide this column" onClick={() => change({ columns: visible.filter((one) => one !== name) })}>
          ✕
        </button>
      )}
    </span>
  );
  return (
    <div role="row" aria-rowindex={1} class="row head">
      <span role="columnheader" class="pick">
        <span class="hidden">drawn</span>
      </span>
      {title("name", "run")}
      {title("state")}
      {visible.map((name) => title(name, name.replaceAll("`", "")))}
    </div>
  );
}

function Choose() {
  const [editing, setEditing] = useState(false);
  const { shown: wanted, archived, compare, colourBy } = view.value;
  const base = wanted.base === "top" ? String(wanted.top) : wanted.base;
  return (
    <div class="toolbar" role="toolbar" aria-label="Runs">
      <span class="quiet">
        {marked.value.length.toLocaleString("en")} of {(total.value ?? 0).toLocaleString("en")} drawn
      </span>
      {!inFile() && <><label>
        draw{" "}
        <select
          value={base}
          onChange={(event) => {
            const value = event.currentTarget.value;
            const top = Number(value);
            change({ shown: value === "all" || value === "none" ? { base: value, top: 10, plus: [], minus: [] } : { base: "top", top, plus: [], minus: [] } });
          }}
        >
          {[...new Set([...(wanted.base === "top" ? [wanted.top] : []), 1, 5, 10, 20, 50, 100])].sort((a, b) => a - b).map((count) => (
            <option key={count} value={String(count)} selected={base === String(count)}>
              first {count}
            </option>
          ))}
          <option value="all" selected={base === "all"}>
            all
          </option>
          <option value="none" selected={base === "none"}>
            none
          </option>
        </select>
      </label>
      <label class="check">
        <input type="checkbox" checked={archived} onChange={(event) => change({ archived: event.currentTarget.checked })} /> archived
      </label>
      <Columns />
      <button onClick={() => change({ plot: compare.length > 0 ? "side" : "scatter" })} title={compare.length > 0 ? "The selected runs side by side" : "All runs: scatter, parallel coordinates"}>
        compare {compare.length > 0 ? compare.length : "all"}
      </button></>}
      {compare.length > 0 && (
        <>
          {mayEdit.value && (
            <button aria-expanded={editing} onClick={() => setEditing(!editing)}>
              edit {compare.length}
            </button>
          )}
          <button onClick={() => change({ shown: { base: "none", top: 10, plus: compare, minus: [] } })} title="Draw only the selected runs">
            draw only these
          </button>
          <button onClick={() => change({ compare: [] })} title="Select none">
            ✕
          </button>
        </>
      )}
      {colourBy !== "" && (
        <span class="values" role="list" aria-label={`Colours by ${colourBy}`}>
          {colourLegend().map((one) => (
            <span role="listitem" key={one.text}>
              <i style={{ background: one.colour }} /> {one.text}
            </span>
          ))}
        </span>
      )}
      {editing && mayEdit.value && compare.length > 0 && <EditRuns runs={compare} close={() => setEditing(false)} />}
    </div>
  );
}

export function Table() {
  const scroller = useRef<HTMLDivElement>(null);
  const count = total.value ?? 0;
  const virtual = useRows(scroller, count, () => ROW, "", 10);
  const [first, last] = [virtual.items[0]?.index ?? 0, virtual.items.at(-1)?.index ?? 0];
  useEffect(() => look(first, last), [first, last, count]);
  useEffect(() => {
    if (at.value >= 0 && at.value < count) virtual.to(at.value);
  }, [at.value]);
  const visible = view.value.columns;
  const wide = (name: string) => (name === "started" ? 122 : Math.min(200, Math.max(92, 36 + 7.3 * name.length)));
  const template = `58px minmax(var(--name), 2fr) 84px ${visible.map((name) => (name === "started" ? "122px" : `minmax(${wide(name)}px, 1fr)`)).join(" ")}`;
  const width = visible.reduce((sum, name) => sum + wide(name), 142);
  const base = baselineRow.value;
  const { value: trouble } = problem;
  return (
    <section class="runs" aria-label="Runs">
      <Choose />
      <div class="tablescroll" ref={scroller} tabIndex={0} role="region" aria-label="Table of runs">
        <div role="table" aria-rowcount={count + 1} aria-label="Runs" style={{ "--columns": template, minWidth: `calc(var(--name) + ${width}px)` }}>
          <div role="rowgroup" class="sticky">
            <Head />
            {base && <Row row={base} index={-1} top={0} pinned />}
          </div>
          <div role="rowgroup" style={{ height: `${virtual.height}px`, position: "relative" }}>
            {virtual.items.map((item) => {
              const row = rows.value.get(item.index);
              return row ? <Row key={row.run} row={row} index={item.index} top={item.start} /> : null;
            })}
          </div>
        </div>
        {trouble && trouble.at === null && (
          <div class="trouble" role="alert">
            <b>{trouble.message}</b>
            <p><Coded text={trouble.remedy} /></p>
          </div>
        )}
        {total.value === null && !trouble && <p class="nothing">Loading…</p>}
        {total.value === 0 && all.value > 0 && !trouble && <p class="nothing">No run matches.</p>}
      </div>
    </section>
  );
}
