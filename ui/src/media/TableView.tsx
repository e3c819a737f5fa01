// A logged table: only the rows on the screen, fetched by pages; the server sorts and filters, every number is exact.
import { useEffect, useRef, useState } from "preact/hooks";
import { useRows } from "../parts/virtual";
import { count, messageOf } from "../parts/words";
import type { Value } from "../wire/types";
import { type TablePage, table } from "./grids";
import { exact } from "./exact";
import { Broken, Save } from "./parts";
import type { Item } from "./types";

const [PAGE, HEIGHT] = [200, 24];

const isNumber = (type: string) => /^(u?int|float|double|halffloat)/.test(type);

interface Asked {
  sort: string;
  match: string;
  filters: Record<string, string>;
}

export function TableView({ item }: { item: Item }) {
  const scroller = useRef<HTMLDivElement>(null);
  const [asked, setAsked] = useState<Asked>({ sort: "", match: "", filters: {} });
  const [head, setHead] = useState<TablePage | null>(null);
  const [rows, setRows] = useState<ReadonlyMap<number, Value[]>>(new Map());
  const [wrong, setWrong] = useState("");
  const out = useRef(new Set<number>());
  const abort = useRef(new AbortController());
  const { run, file } = item;

  const fetchPage = (page: number, stop: AbortController) => {
    out.current.add(page);
    const { sort, match, filters } = asked;
    table({ run, file: file ?? "", offset: page * PAGE, limit: PAGE, ...(sort ? { sort } : {}), ...(match ? { match } : {}), filters }, stop.signal).then(
      (found) => {
        if (stop.signal.aborted) return;
        setHead(found);
        setWrong("");
        setRows((now) => {
          const next = new Map(page === 0 && out.current.size === 1 ? [] : now);
          found.rows.forEach((row, at) => next.set(found.offset + at, row));
          return next;
        });
      },
      (problem: unknown) => {
        if (stop.signal.aborted) return;
        out.current.delete(page);
        setWrong(messageOf(problem));
      },
    );
  };
  // What is typed is asked when it rests.
  useEffect(() => {
    const timer = setTimeout(
      () => {
        abort.current.abort();
        abort.current = new AbortController();
        out.current = new Set();
        fetchPage(0, abort.current);
      },
      head ? 150 : 0,
    );
    return () => clearTimeout(timer);
  }, [run, file, asked]);
  useEffect(() => () => abort.current.abort(), []);

  const virtual = useRows(scroller, head?.total ?? 0, () => HEIGHT, String(head?.total), 8);
  const wanted = [...new Set(virtual.items.map((one) => Math.floor(one.index / PAGE)))].join(" ");
  useEffect(() => {
    if (head && wanted) for (const page of wanted.split(" ").map(Number)) if (!out.current.has(page)) fetchPage(page, abort.current);
  }, [wanted, head]);

  if (!head) return wrong ? <Broken>It cannot be shown: {wrong} <Save item={item} what="Save it" /></Broken> : null;
  const columns = head.columns;
  // All digits of a 64-bit number have room.
  const widths = columns.map((one) => (/64|double/.test(one.type) ? 158 : 110));
  const template = { gridTemplateColumns: widths.map((one) => `minmax(${one}px, 1fr)`).join(" "), minWidth: `${widths.reduce((sum, one) => sum + one, 0)}px` };
  const sortBy = (at: number) => setAsked({ ...asked, sort: asked.sort === String(at) ? `-${at}` : asked.sort === `-${at}` ? "" : String(at) });
  return (
    <div class="logged">
      <div class="poprow">
        <input type="search" placeholder="any column holds" aria-label="Any column holds" value={asked.match} onInput={(event) => setAsked({ ...asked, match: event.currentTarget.value })} />
        <span class="quiet" role="status">
          {head.total === head.all ? `${count(head.all)} rows` : `${count(head.total)} of ${count(head.all)} rows`}
          {head.columns_left_out > 0 && `, ${count(head.columns_left_out)} more columns not shown`}
        </span>
        <Save item={item} what="Parquet" />
      </div>
      {wrong && <p class="warn">{wrong}</p>}
      <div class="loggedrows" ref={scroller} tabIndex={0} role="group" aria-label="Rows">
        <div role="table" aria-rowcount={head.total + 1} aria-label={`Table ${item.key} at step ${item.step}`} style={{ minWidth: template.minWidth }}>
          <div class="loggedhead" role="rowgroup">
            <div class="loggedrow" role="row" aria-rowindex={1} style={template}>
              {columns.map((column, at) => (
                <span role="columnheader" key={at} aria-sort={asked.sort === String(at) ? "ascending" : asked.sort === `-${at}` ? "descending" : "none"}>
                  <button title={`${column.name}: ${column.type}`} onClick={() => sortBy(at)}>
                    {column.name} {asked.sort === String(at) ? "▲" : asked.sort === `-${at}` ? "▼" : ""}
                  </button>
                  <input
                    placeholder={isNumber(column.type) ? "< 5" : "holds"}
                    aria-label={`Filter of ${column.name}`}
                    title="A text that it holds; or < 5, <= 5, > 5, >= 5, = x, != x"
                    value={asked.filters[at] ?? ""}
                    onInput={(event) => setAsked({ ...asked, filters: { ...asked.filters, [at]: event.currentTarget.value } })}
                  />
                </span>
              ))}
            </div>
          </div>
          <div role="rowgroup" style={{ height: `${virtual.height}px`, position: "relative" }}>
            {virtual.items.map(({ index, start }) => (
              <div class="loggedrow" role="row" aria-rowindex={index + 2} key={index} style={{ ...template, position: "absolute", top: `${start}px`, height: `${HEIGHT}px` }}>
                {columns.map((column, at) => {
                  const text = exact(rows.get(index)?.[at], column.type);
                  return (
                    <span role="cell" key={at} class={isNumber(column.type) ? "number" : ""} title={text}>
                      {rows.has(index) ? text : "…"}
                    </span>
                  );
                })}
              </div>
            ))}
          </div>
        </div>
      </div>
    </div>
  );
}
