// Asks for what is read of media on the server: heat maps, pages of tables.
import { ask, posted } from "../wire/client";
import { decode } from "../wire/decode";
import type { Card, Series, Value } from "../wire/types";

export interface HeatSeries extends Omit<Series, "kind"> {
  kind: "heat";
  run: string;
  first: number[];
  last: number[];
  merged: number;
  outside: number;
  damaged: number;
}

export interface HeatCard extends Omit<Card, "series"> {
  edges: number[];
  as_logged: boolean;
  series: HeatSeries[];
}

export interface HeatAsk {
  runs: string[];
  key: string;
  width: number;
  bins: number;
  from: number | null;
  to: number | null;
}

export async function heat(wanted: HeatAsk, signal: AbortSignal): Promise<HeatCard> {
  const answer = await ask("api/media-heat", posted(wanted, signal));
  return decode(await answer.arrayBuffer())[0] as unknown as HeatCard;
}

export interface TableAsk {
  run: string;
  file: string;
  offset: number;
  limit: number;
  sort?: string;
  match?: string;
  filters?: Record<string, string>;
}

export interface TablePage {
  columns: { name: string; type: string }[];
  columns_left_out: number;
  all: number;
  total: number;
  offset: number;
  rows: Value[][];
}

export async function table(wanted: TableAsk, signal: AbortSignal): Promise<TablePage> {
  return (await ask("api/media-table", posted(wanted, signal))).json() as Promise<TablePage>;
}
