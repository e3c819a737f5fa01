// Which columns the table shows: a list with a search, and what gives the runs their colours.
import { useMemo, useState } from "preact/hooks";
import { usePopover } from "../parts/focus";
import { columnNames, names } from "../state/table";
import { change, view } from "../state/view";
import { written } from "./complete";

const FIELDS = ["state", "started", "duration", "group", "tags", "project", "notes", "records", "points"];
const MOST = 200;

function List({ close }: { close: () => void }) {
  const popover = usePopover(close);
  const [search, setSearch] = useState("");
  const { columns, colourBy } = view.value;
  const known = names.value;
  const all = useMemo(
    () => [
      ...FIELDS,
      ...known.config.map((one) => `config.${one}`),
      ...known.summary.map((one) => `summary.${one}`),
      ...known.metrics.flatMap((one) => ["last", "min", "max"].map((part) => `${one}.${part}`)),
    ],
    [known],
  );
  const found = all.filter((one) => one.toLowerCase().includes(search.toLowerCase()));
  const kept = found.slice(0, MOST);
  const turn = (name: string) => change({ columns: columns.includes(name) ? columns.filter((one) => one !== name) : [...columns, name] });
  return (
    <div class="popover" role="dialog" aria-label="Columns" ref={popover}>
      <div class="poprow">
        <input type="search" placeholder="search columns" aria-label="Search columns" value={search} onInput={(event) => setSearch(event.currentTarget.value)} autofocus />
        <button onClick={() => close()} aria-label="Close">
          ✕
        </button>
      </div>
      <label>
        colour by{" "}
        <select value={colourBy} onChange={(event) => change({ colourBy: event.currentTarget.value })}>
          <option value="">run</option>
          {["group", "state", ...known.config.map((one) => `config.${one}`)].map((one) => (
            <option key={one} value={written(one)} selected={written(one) === colourBy}>
              {one}
            </option>
          ))}
        </select>
      </label>
      <div class="poplist">
        {kept.map((one) => (
          <label key={one} class="check">
            <input type="checkbox" checked={columns.includes(written(one))} onChange={() => turn(written(one))} /> {one}
          </label>
        ))}
        {found.length > kept.length && <p class="quiet">{(found.length - kept.length).toLocaleString("en")} more: search for them</p>}
      </div>
    </div>
  );
}

export function Columns() {
  const [open, setOpen] = useState(false);
  return (
    <span>
      <button
        aria-expanded={open}
        onClick={() => {
          if (!open) void columnNames();
          setOpen(!open);
        }}
      >
        columns
      </button>
      {open && <List close={() => setOpen(false)} />}
    </span>
  );
}
