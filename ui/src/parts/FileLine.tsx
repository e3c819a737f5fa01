// Of a file that was handed on: when it was made and by what, and what it leaves out.
import { count, many } from "./words";
import type { Handed } from "../wire/file";

export function FileLine({ file }: { file: Handed }) {
  const charts = new Set(file.charts.map((one) => one.key)).size;
  const left = file.left_out.length;
  return (
    <p class="fileline">
      <span>
        {file.made.replace("T", " ").replace(/:\d\dZ$/, " UTC")} · steno {file.version} · {many(file.runs.rows.length, "run")}, {many(charts, "chart")}
      </span>
      {left > 0 && (
        <span class="warn" title={file.left_out.slice(0, 200).join("\n")}>
          {" "}
          {count(left)} {left === 1 ? "chart is" : "charts are"} left out, for want of room
        </span>
      )}
    </p>
  );
}
