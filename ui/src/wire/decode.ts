// The answer of api/chart as typed arrays: a JSON header, then raw little-endian buffers.
import type { Card, CardHead, Column, Series, SeriesHead } from "./types";

export class WireError extends Error {}

/** The number that stands in JSON, or in `{"$": "…"}` for what JSON does not hold. */
export function numberOf(value: unknown): number {
  if (typeof value === "number") return value;
  if (value !== null && typeof value === "object" && "$" in value) return Number(value.$);
  return NaN;
}

function column(span: SeriesHead["columns"][string], rows: number, buffer: ArrayBuffer, start: number): Column {
  if (span.dtype === "const") return new Float64Array(rows).fill(numberOf(span.value));
  const at = start + (span.offset ?? 0);
  const length = span.length ?? rows;
  switch (span.dtype) {
    case "<f8":
      return new Float64Array(buffer, at, length);
    case "<f4":
      return new Float32Array(buffer, at, length);
    case "<u4":
      return new Uint32Array(buffer, at, length);
    case "|u1":
      return new Uint8Array(buffer, at, length);
    default:
      throw new WireError(`the answer has a column of a type that this page does not know: ${String(span.dtype)}`);
  }
}

function series(head: SeriesHead, buffer: ArrayBuffer, start: number): Series {
  const columns: Record<string, Column> = {};
  for (const [name, span] of Object.entries(head.columns)) {
    const made = column(span, head.rows, buffer, start);
    if (made.length !== head.rows) throw new WireError(`the column ${name} has ${made.length} rows instead of ${head.rows}`);
    columns[name] = made;
  }
  return { ...head, columns };
}

export function decode(buffer: ArrayBuffer): Card[] {
  if (buffer.byteLength < 4) throw new WireError("the answer is empty");
  const size = new DataView(buffer).getUint32(0, true);
  const start = 4 + size;
  if (start > buffer.byteLength) throw new WireError("the answer is cut off");
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size))) as { cards: CardHead[] };
  return header.cards.map((card) => ({ ...card, series: (card.series ?? []).map((one) => series(one, buffer, start)) }));
}
