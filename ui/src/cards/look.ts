// The colour and the name of a line: of its run, its rank, its group.
import { computed } from "@preact/signals";
import type { Look } from "../chart/lines";
import * as palette from "../chart/palette";
import { dark } from "../parts/theme";
import { cell } from "../parts/words";
import { colourValue, known, shown } from "../state/table";
import { view } from "../state/view";
import type { Series, Value } from "../wire/types";

/** Colours by the value of a column, over the runs that are drawn. */
const byValue = computed(() => (view.value.colourBy ? palette.byValue(shown.value.map((run) => colourValue(run) ?? null), dark.value) : null));

/** What a colour stands for, the first dozen, when colours go by a value. */
export function colourLegend(): { text: string; colour: string }[] {
  const found = [...(byValue.value ?? [])].slice(0, 12);
  return found.map(([value, colour]) => ({ text: cell(JSON.parse(value) as Value, "") || "none", colour }));
}

export function colourOf(run: string): string {
  const row = known.value.get(run);
  if (byValue.value) return byValue.value.get(JSON.stringify(colourValue(run) ?? null)) ?? palette.nth(0, dark.value);
  // A colour comes from a file that others write: only what is one is used.
  if (row?.colour && /^#[0-9a-f]{6}$/i.test(row.colour)) return row.colour;
  return palette.ofRun(run, row?.nth, dark.value);
}

/** Names that several of the drawn runs have: those are told by their ids. */
const doubled = computed(() => {
  const seen = new Set<string>();
  const found = new Set<string>();
  for (const run of shown.value) {
    const name = known.value.get(run)?.name;
    if (name === undefined) continue;
    if (seen.has(name)) found.add(name);
    seen.add(name);
  }
  return found;
});

/** Another text when a drawn run has another name or colour: its lines are drawn anew. */
export const looks = computed(() =>
  JSON.stringify(
    shown.value.map((run) => {
      const row = known.value.get(run);
      return [row?.name, row?.colour];
    }),
  ),
);

export function nameOf(run: string): string {
  const name = known.value.get(run)?.name;
  return name === undefined || doubled.value.has(name) ? run : name;
}

export function lookOf(series: Series, at: number): Look {
  if (series.kind === "group") {
    const values = (series.group ?? []).map((value, index) => `${(view.value.group ?? [])[index] ?? ""} = ${cell(value, "") || "none"}`);
    return { colour: palette.nth(at, dark.value), label: `${values.join(", ") || "all runs"} (${series.size ?? 0})` };
  }
  if (series.run === undefined) return { colour: palette.nth(at, dark.value), label: series.kind === "band" ? "all lines" : series.key };
  const rank = series.rank === null || series.rank === undefined ? "" : ` · rank ${series.rank}`;
  return { colour: colourOf(series.run), label: `${nameOf(series.run)}${rank}`, strong: series.run === view.value.baseline };
}
