// Colours: safe for the colour-blind, stable for a run, or by a value of the configuration.

// Okabe and Ito's hues in an order that keeps neighbours apart, then the same darker and lighter (Paul Tol's bright and muted).
const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#332288", "#882255", "#44aa99", "#999933", "#aa4499", "#661100"];
const DARK = ["#56a8e8", "#ff8a3c", "#2fc79a", "#e79ac2", "#e6b422", "#8fd0ff", "#a79bf0", "#d9688f", "#6fd6c6", "#cfcf62", "#d884d0", "#e0906f"];

// Of viridis, for numbers in order; without its ends, which vanish on white or on black.
const RAMP = ["#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39"];

export function hash(text: string): number {
  let sum = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) sum = Math.imul(sum ^ text.charCodeAt(at), 0x01000193);
  return sum >>> 0;
}

export function nth(index: number, dark: boolean): string {
  const list = dark ? DARK : LIGHT;
  return list[index % list.length] as string;
}

/** The colour of a run by its place among all runs, so that runs made one after the other differ; by its id without one. */
export function ofRun(run: string, place: number | null | undefined, dark: boolean): string {
  return nth(place ?? hash(run), dark);
}

/** Colours for the values of a column: numbers along a ramp when there are many, else one each, in order. */
export function byValue(values: unknown[], dark: boolean): Map<string, string> {
  const known = new Map(values.map((value) => [JSON.stringify(value), value]));
  const entries = [...known].sort(([a, left], [b, right]) =>
    typeof left === "number" && typeof right === "number" ? left - right : a < b ? -1 : 1,
  );
  const ramp = entries.length > 6 && entries.every(([, value]) => typeof value === "number");
  return new Map(
    entries.map(([text], index) => [text, ramp ? alongRamp(index / (entries.length - 1)) : nth(index, dark)]),
  );
}

function alongRamp(part: number): string {
  const at = part * (RAMP.length - 1);
  const low = Math.min(Math.floor(at), RAMP.length - 2);
  const mix = (from: string, to: string, byte: number) => {
    const [a, b] = [from, to].map((one) => parseInt(one.slice(1 + 2 * byte, 3 + 2 * byte), 16)) as [number, number];
    return Math.round(a + (b - a) * (at - low))
      .toString(16)
      .padStart(2, "0");
  };
  const [from, to] = [RAMP[low] as string, RAMP[low + 1] as string];
  return `#${mix(from, to, 0)}${mix(from, to, 1)}${mix(from, to, 2)}`;
}
