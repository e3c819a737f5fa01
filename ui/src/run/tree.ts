// Nested values as the rows of a tree: what is open, and what a search finds.
import { cell } from "../parts/words";
import type { Value } from "../wire/types";

export interface TreeRow {
  path: string;
  name: string;
  depth: number;
  /** Of a group: how many values are below it; null: this is a value. */
  inside: number | null;
  open: boolean;
  text: string;
}

type Group = Record<string, Value>;

function isGroup(value: Value | undefined): value is Group {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !("$" in value) && Object.keys(value).length > 0;
}

export function leaves(value: Group): number {
  let sum = 0;
  for (const inner of Object.values(value)) sum += isGroup(inner) ? leaves(inner) : 1;
  return sum;
}

/**
 * The rows in the order of the file.
 *
 * @param turned groups that are not as `openAtFirst` says.
 * @param search kept are values whose path or text holds it, and groups around them, all open.
 */
export function treeRows(value: Group, turned: ReadonlySet<string>, openAtFirst: boolean, search: string): TreeRow[] {
  const wanted = search.toLowerCase();
  const found: TreeRow[] = [];
  const walk = (group: Group, prefix: string, depth: number) => {
    for (const [name, inner] of Object.entries(group)) {
      const path = prefix + name;
      if (isGroup(inner)) {
        const at = found.length;
        const open = wanted !== "" || turned.has(path) !== openAtFirst;
        found.push({ path, name, depth, inside: leaves(inner), open, text: "" });
        if (open) walk(inner, `${path}.`, depth + 1);
        if (wanted && found.length === at + 1) found.pop();
      } else {
        const text = cell(inner, name);
        if (!wanted || path.toLowerCase().includes(wanted) || text.toLowerCase().includes(wanted)) found.push({ path, name, depth, inside: null, open: false, text });
      }
    }
  };
  walk(value, "", 0);
  return found;
}
