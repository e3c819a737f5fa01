// A cell of a logged table as text.
import type { Value } from "../wire/types";

/** A number as it is: all digits of a float64, the shortest text of a float32, whole numbers beyond 2**53 too. */
export function exact(value: Value | undefined, type: string): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") {
    if (type !== "float") return String(value);
    for (let digits = 1; digits < 9; digits++) {
      const text = Number(value.toPrecision(digits));
      if (Math.fround(text) === value) return String(text);
    }
    return String(value);
  }
  if (typeof value === "object" && !Array.isArray(value) && "$" in value) return String(value.$);
  return String(value as string | boolean);
}
