// What the tip at a run's point or line says: its name, and the values of the columns that are drawn.
import { cell } from "../parts/words";
import type { RunRow } from "../wire/types";
import { plain } from "./Pick";

export function ValuesOf({ row, names, columns }: { row: RunRow; names: string[]; columns: string[] }) {
  return (
    <>
      <div class="when">{`${row.project}/${row.name}`}</div>
      {names.map((name) => (
        <div class="value" key={name}>
          <span class="of">{plain(name)}</span>
          <b>{cell(row.values[columns.indexOf(name)], name) || "no value"}</b>
        </div>
      ))}
    </>
  );
}
