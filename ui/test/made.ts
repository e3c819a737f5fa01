// Series as the server would send them.
import type { Series } from "../src/wire/types";

type At = [number, number];

export function points(rows: At[], cut?: number[]): Series {
  const columns: Series["columns"] = { x: Float64Array.from(rows, (row) => row[0]), y: Float64Array.from(rows, (row) => row[1]) };
  if (cut) columns["cut"] = Uint8Array.from(cut);
  return { run: "a/b", key: "k", kind: "points", rows: rows.length, points: rows.length, columns };
}

export interface Bin {
  first: At;
  last: At;
  min: At;
  max: At;
  cut?: number;
  nan?: number;
  pinf?: number;
  ninf?: number;
  count?: number;
}

export function bins(rows: Bin[]): Series {
  const columns: Series["columns"] = {};
  for (const name of ["first", "last", "min", "max"] as const) {
    columns[`${name}_x`] = Float64Array.from(rows, (row) => row[name][0]);
    columns[name] = Float64Array.from(rows, (row) => row[name][1]);
  }
  for (const name of ["cut", "nan", "pinf", "ninf"] as const) columns[name] = Uint32Array.from(rows, (row) => row[name] ?? 0);
  columns["count"] = Uint32Array.from(rows, (row) => row.count ?? 1);
  return { run: "a/b", key: "k", kind: "bins", rows: rows.length, points: rows.length, columns };
}

export function group(rows: Record<"bin" | "mean" | "std" | "min" | "max" | "n", number>[]): Series {
  const columns: Series["columns"] = {};
  for (const name of ["bin", "mean", "std", "min", "max", "n"] as const) columns[name] = Float64Array.from(rows, (row) => row[name]);
  return { group: ["x"], runs: ["a/b"], size: 3, key: "k", kind: "group", rows: rows.length, points: rows.length, columns };
}
