// Nested values as a tree: groups open and close, a search in names and values; only rows on the screen are in the document.
import { useMemo, useRef, useState } from "preact/hooks";
import { useRows } from "../parts/virtual";
import { many } from "../parts/words";
import type { Value } from "../wire/types";
import { leaves, treeRows } from "./tree";

const [ROW, MOST_OPEN, TALLEST] = [24, 200, 560];

export function Tree({ title, value }: { title: string; value: Record<string, Value> }) {
  const [turned, setTurned] = useState<ReadonlySet<string>>(new Set());
  const [openAll, setOpenAll] = useState<boolean | null>(null);
  const [search, setSearch] = useState("");
  const scroller = useRef<HTMLDivElement>(null);
  const count = useMemo(() => leaves(value), [value]);
  const openAtFirst = openAll ?? count <= MOST_OPEN;
  const listed = useMemo(() => treeRows(value, turned, openAtFirst, search), [value, turned, openAtFirst, search]);
  const rows = useRows(scroller, listed.length, () => ROW, "", 8);
  if (count === 0) return null;
  const found = search ? listed.filter((one) => one.inside === null).length : count;
  const turn = (path: string) => {
    const next = new Set(turned);
    if (!next.delete(path)) next.add(path);
    setTurned(next);
  };
  const all = (open: boolean) => {
    setTurned(new Set());
    setOpenAll(open);
  };
  const nested = Object.keys(value).length < count;
  return (
    <section>
      <h3>
        {title} <small class="quiet">{search ? `${many(found, "value")} of ${count.toLocaleString("en")}` : many(count, "value")}</small>{" "}
        {count > 8 && <input type="search" placeholder="search" aria-label={`Search ${title}`} value={search} onInput={(event) => setSearch(event.currentTarget.value)} />}
        {nested && !search && (
          <>
            <button onClick={() => all(true)}>open all</button>
            <button onClick={() => all(false)}>close all</button>
          </>
        )}
      </h3>
      <div class="treescroll" ref={scroller} tabIndex={0} style={{ height: `${Math.min(TALLEST, Math.max(1, listed.length) * ROW)}px` }}>
        <div role="tree" aria-label={title} style={{ height: `${rows.height}px`, position: "relative" }}>
          {rows.items.map((item) => {
            const row = listed[item.index];
            if (!row) return null;
            return (
              <div
                key={row.path}
                role="treeitem"
                aria-level={row.depth + 1}
                aria-label={row.inside === null ? `${row.path} = ${row.text}` : row.path}
                {...(row.inside === null ? {} : { "aria-expanded": row.open })}
                class="treerow"
                style={{ top: `${item.start}px`, paddingLeft: `${row.depth * 16}px` }}
              >
                {row.inside === null ? (
                  <>
                    <span class="of" title={row.path}>
                      {row.name}
                    </span>
                    <span class="is" title={row.text}>
                      {row.text}
                    </span>
                  </>
                ) : (
                  <button class="open" onClick={() => turn(row.path)} disabled={search !== ""}>
                    <span class="turn">{row.open ? "▾" : "▸"}</span>
                    {row.name} <small class="quiet">{row.inside.toLocaleString("en")}</small>
                  </button>
                )}
              </div>
            );
          })}
        </div>
      </div>
      {search && listed.length === 0 && <p class="quiet">No name and no value holds “{search}”.</p>}
    </section>
  );
}
