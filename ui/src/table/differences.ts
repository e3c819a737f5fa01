// Which values of several configurations differ; nested ones are told by their path.
import type { Value } from "../wire/types";

export interface Difference {
  name: string;
  values: (Value | undefined)[];
}

/** Nested values by their path, into a map. */
export function flat(value: Record<string, Value>, prefix: string, into: Map<string, Value>): Map<string, Value> {
  for (const [name, inner] of Object.entries(value)) {
    const nested = typeof inner === "object" && inner !== null && !Array.isArray(inner) && !("$" in inner) && Object.keys(inner).length > 0;
    if (nested) flat(inner as Record<string, Value>, `${prefix}${name}.`, into);
    else into.set(prefix + name, inner);
  }
  return into;
}

/** By name; a run without a value differs from one that has it. */
export function differences(configs: Record<string, Value>[]): { rows: Difference[]; same: number } {
  const all = configs.map((one) => flat(one, "", new Map()));
  const names = [...new Set(all.flatMap((one) => [...one.keys()]))].sort();
  const rows: Difference[] = [];
  let same = 0;
  for (const name of names) {
    const values = all.map((one) => one.get(name));
    if (new Set(values.map((value) => JSON.stringify(value))).size > 1) rows.push({ name, values });
    else same += 1;
  }
  return { rows, same };
}
