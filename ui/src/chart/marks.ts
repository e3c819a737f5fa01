// Where a series holds NaN and infinities, and how many: they are marked at the edge of the chart, never dropped.
import type { Series } from "../wire/types";

export interface Mark {
  x: number;
  nan: number;
  pinf: number;
  ninf: number;
}

export function marks(series: Series): Mark[] {
  const found: Mark[] = [];
  if (series.kind === "points") {
    const { x, y } = series.columns;
    for (let row = 0; x && y && row < series.rows; row++) {
      const value = y[row] as number;
      if (Number.isFinite(value)) continue;
      found.push({ x: x[row] as number, nan: +Number.isNaN(value), pinf: +(value === Infinity), ninf: +(value === -Infinity) });
    }
  } else if (series.kind === "bins") {
    const { first_x, last_x, nan, pinf, ninf } = series.columns;
    for (let row = 0; first_x && last_x && row < series.rows; row++) {
      const one = { nan: nan?.[row] ?? 0, pinf: pinf?.[row] ?? 0, ninf: ninf?.[row] ?? 0 };
      if (one.nan || one.pinf || one.ninf) found.push({ x: ((first_x[row] as number) + (last_x[row] as number)) / 2, ...one });
    }
  }
  return found;
}

export function totals(all: Mark[]): { nan: number; pinf: number; ninf: number } {
  const sum = { nan: 0, pinf: 0, ninf: 0 };
  for (const one of all) {
    sum.nan += one.nan;
    sum.pinf += one.pinf;
    sum.ninf += one.ninf;
  }
  return sum;
}

/** "3 NaN, 1 +inf"; empty when there is none. */
export function inWords(sum: { nan: number; pinf: number; ninf: number }): string {
  const words = [
    [sum.nan, "NaN"],
    [sum.pinf, "+inf"],
    [sum.ninf, "−inf"],
  ] as const;
  return words
    .filter(([count]) => count > 0)
    .map(([count, word]) => `${count.toLocaleString("en")} ${word}`)
    .join(", ");
}
