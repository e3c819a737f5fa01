// A card's answer as what is drawn: lines with their colour, smoothed lines, bands, marks, and what the card says of them.
import type { Card, Series } from "../wire/types";
import { type Mark, marks } from "./marks";
import { type Polyline, type Spread, band, line, smoothLine } from "./polyline";

export interface Look {
  colour: string;
  label: string;
  /** The baseline is drawn thicker, and dashed lines are told from it. */
  strong?: boolean;
}

export interface Drawn {
  series: Series;
  look: Look;
  raw: Polyline;
  smooth: Polyline | null;
  band: { low: Polyline; high: Polyline } | null;
  marks: Mark[];
  /** x where a group's mean is of fewer runs than the group has: drawn dashed from row to row. */
  partial: boolean[] | null;
}

export function drawn(card: Card, look: (series: Series, at: number) => Look, spread: Spread): Drawn[] {
  const bin = card.bin ?? 1;
  return card.series.map((series, at) => {
    const area = series.kind === "group" ? band(series, spread, bin) : series.kind === "band" ? band(series, "range", bin) : null;
    const { n } = series.columns;
    const size = series.size ?? 0;
    const partial = series.kind === "group" && n && size > 0 ? Array.from(n, (one) => one < size) : null;
    return {
      series,
      look: look(series, at),
      raw: line(series, bin),
      smooth: smoothLine(series, bin),
      band: area,
      marks: marks(series),
      partial: partial?.some(Boolean) ? partial : null,
    };
  });
}
