// The arithmetic of a heat map: colours, parts of a column, the column of a step.

/** From the ground to the strongest colour; the darkest on light, the brightest on dark. */
const RAMP = { light: ["#ffffff", "#c6dbef", "#6baed6", "#2171b5", "#08306b"], dark: ["#14181f", "#1d3a5f", "#2b6cb0", "#7cb8f5", "#f5fbff"] };

function channels(hex: string): [number, number, number] {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)) as [number, number, number];
}

/** 256 colours as the pixels of a canvas have them. */
export function ramp(isDark: boolean): Uint32Array {
  const stops = (isDark ? RAMP.dark : RAMP.light).map(channels);
  return Uint32Array.from({ length: 256 }, (_, at) => {
    const place = (at / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    const [from, to] = [stops[low], stops[low + 1]] as [[number, number, number], [number, number, number]];
    const [red, green, blue] = from.map((one, index) => Math.round(one + ((to[index] as number) - one) * (place - low))) as [number, number, number];
    return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  });
}

/** By column and bin, the part of the column's values; the colours of all tiles stand for the same. */
export function shares(counts: ArrayLike<number>, bins: number): Float64Array {
  const made = new Float64Array(counts.length);
  for (let at = 0; at < counts.length; at += bins) {
    let sum = 0;
    for (let bin = 0; bin < bins; bin++) sum += counts[at + bin] as number;
    for (let bin = 0; bin < bins; bin++) made[at + bin] = sum > 0 ? (counts[at + bin] as number) / sum : 0;
  }
  return made;
}

/** The column at a step: the last that begins at or before it. */
export function columnAt(one: { first: number[] }, step: number): number {
  let [low, high] = [0, one.first.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((one.first[middle] as number) <= step) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
