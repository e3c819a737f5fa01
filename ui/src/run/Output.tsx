// What a run printed, or all its records: of a million the lines on the screen alone, with a search in all of them; it follows the end.
import { useEffect, useRef, useState } from "preact/hooks";
import { Coded } from "../parts/Coded";
import { useFixedRows } from "../parts/fixedrows";
import { count, many, moment } from "../parts/words";
import { known } from "../state/table";
import * as client from "../wire/runclient";
import type { Entry, Value } from "../wire/types";
import { spans } from "./ansi";
import { PAGE, type Question, useLines } from "./lines";

const ROW = 19;

function field(value: Value, name: string): Value | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) && name in value ? (value as Record<string, Value>)[name] : undefined;
}

function text(entry: Entry): string {
  const { value } = entry;
  const said = field(value, "text");
  return typeof said === "string" ? said : typeof value === "string" ? value : JSON.stringify(value);
}

/** What was not recorded before a line, and of its end. */
function gaps(entry: Entry): string {
  const [out, cut] = [field(entry.value, "left_out"), field(entry.value, "cut")];
  return [typeof out === "number" ? `${many(out, "line")} before this one ${out === 1 ? "was" : "were"} not recorded` : "", typeof cut === "number" ? `${many(cut, "more character")}` : ""].filter(Boolean).join("; ");
}

interface LineProps {
  entry: Entry;
  index: number;
  top: number;
  all: boolean;
  ranks: boolean;
  marked: boolean;
  onNumber: ((number: number) => void) | null;
}

function Line({ entry, index, top, all, ranks, marked, onNumber }: LineProps) {
  const number = entry.number ?? index;
  const gap = gaps(entry);
  return (
    <div class={`line${field(entry.value, "stream") === "stderr" ? " stderr" : ""}${marked ? " marked" : ""}`} style={{ top: `${top}px` }} title={[entry.time ? moment(new Date(entry.time)) : "", entry.step === null ? "" : `step ${count(entry.step)}`, gap].filter(Boolean).join(" · ")}>
      {onNumber ? (
        <button class="no" title="Show it among its neighbours" onClick={() => onNumber(number)}>
          {number + 1}
        </button>
      ) : (
        <span class="no" aria-hidden="true">
          {number + 1}
        </span>
      )}
      {all && <b>{entry.key} </b>}
      {ranks && <small>rank {entry.rank} </small>}
      <span class="words">
        {spans(text(entry)).map((one, at) => (
          <span key={at} class={one.classes.join(" ")} style={one.colour ? { color: one.colour } : {}}>
            {one.text}
          </span>
        ))}
      </span>
      {gap && <em class="warn"> ⚠ {gap}</em>}
    </div>
  );
}

export function Output({ run, kind }: { run: string; kind: "output" | "" }) {
  const [question, setQuestion] = useState<Question>({ run, kind, key: "", rank: "", match: "" });
  const [wanted, setWanted] = useState<number | null>(null);
  const [marked, setMarked] = useState<number | null>(null);
  const live = known.value.get(run)?.state === "running";
  const scroller = useRef<HTMLDivElement>(null);
  const lines = useLines(question, live);
  const total = lines.total ?? 0;
  const rows = useFixedRows(scroller, total, ROW, 10);
  useEffect(() => lines.look(rows.first, rows.end - 1), [rows.first, rows.end, lines.total]);
  const before = useRef({ of: "", total: 0 });
  const name = JSON.stringify(question);
  const follows = rows.reaches(before.current.total - 4);
  useEffect(() => {
    const { of, total: had } = before.current;
    const fresh = of !== name;
    if (lines.total === null) return;
    before.current = { of: name, total };
    if (wanted !== null) {
      rows.to(Math.min(wanted, total - 1), "center");
      setMarked(wanted);
      setWanted(null);
    } else if (fresh ? live && question.match === "" : total > had && follows) rows.to(total - 1, "end");
  }, [total, lines.total, name, wanted]);
  const ask = (part: Partial<Question>) => {
    setMarked(null);
    setQuestion({ ...question, ...part });
  };
  const word = question.kind === "output" ? "line" : "record";
  const shown: [number, Entry][] = [];
  for (let index = rows.first; index < rows.end; index++) {
    const entry = lines.at(index);
    if (entry) shown.push([index, entry]);
  }
  return (
    <div class="output">
      <div class="poprow" role="toolbar" aria-label={kind === "output" ? "Printed lines" : "Records"}>
        <input type="search" placeholder={`search in all ${word}s`} aria-label="Search" value={question.match} onChange={(event) => ask({ match: event.currentTarget.value })} />
        <span class="quiet" role="status">
          {lines.total === null && !lines.wrong ? "Loading…" : many(total, word)}
        </span>
        {kind === "" && (
          <>
            <select aria-label="Kind" value={question.kind} onChange={(event) => ask({ kind: event.currentTarget.value, key: "" })}>
              <option value="">any kind</option>
              {[...new Set([...Object.keys(lines.kinds), ...(question.kind ? [question.kind] : [])])].map((one) => (
                <option key={one} value={one} selected={one === question.kind}>
                  {one}
                  {lines.kinds[one] === undefined ? "" : ` (${count(lines.kinds[one])})`}
                </option>
              ))}
            </select>
            <input class="key" placeholder="points of a key" aria-label="Key" value={question.key} onChange={(event) => ask({ key: event.currentTarget.value, kind: "" })} />
          </>
        )}
        {(lines.ranks.length > 1 || question.rank !== "") && (
          <select aria-label="Rank" value={question.rank} onChange={(event) => ask({ rank: event.currentTarget.value })}>
            <option value="">all ranks</option>
            {lines.ranks.map((one) => (
              <option key={one} value={String(one)} selected={String(one) === question.rank}>
                rank {one}
              </option>
            ))}
          </select>
        )}
        <input
          class="number"
          inputMode="numeric"
          placeholder={`${word} no.`}
          aria-label={`Go to ${word}`}
          onChange={(event) => {
            const number = Number(event.currentTarget.value.replaceAll(",", ""));
            if (number >= 1) setWanted(Math.min(total, Math.floor(number)) - 1);
          }}
        />
        <button onClick={() => rows.to(0)} disabled={total === 0}>
          top
        </button>
        <button onClick={() => rows.to(total - 1, "end")} disabled={total === 0}>
          end
        </button>
        {kind === "output" && (
          <a class="tool" href={client.outputAddress(run, question.rank)} download={`${run.replaceAll("/", "_")}.txt`}>
            download
          </a>
        )}
      </div>
      {lines.wrong && (
        <p class="trouble" role="alert">
          <b><Coded text={lines.wrong} /></b>
        </p>
      )}
      {lines.total === 0 && <p class="nothing">{question.match ? `No ${word} holds “${question.match}”.` : kind === "output" ? <Coded text={'No output of this run was recorded. Start a run with `steno.init(capture="both")`, and what it prints is here.'} /> : "There is none."}</p>}
      <div class="lines" ref={scroller} tabIndex={0} role="log" aria-label="Lines" aria-live="off" style={{ "--digits": String(count(Math.max(total, PAGE)).length) }}>
        <div style={{ height: `${rows.height}px`, position: "relative" }}>
          {shown.map(([index, entry]) => (
            <Line
              key={index}
              entry={entry}
              index={index}
              top={rows.topOf(index)}
              all={question.kind === "" && kind === ""}
              ranks={lines.ranks.length > 1 && question.rank === ""}
              marked={marked === index}
              onNumber={
                question.match
                  ? (number) => {
                      ask({ match: "" });
                      setWanted(number);
                    }
                  : null
              }
            />
          ))}
        </div>
      </div>
    </div>
  );
}
