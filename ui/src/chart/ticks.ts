// Where an axis has its marks, and what stands at them: for every range that a double holds.

/** Round numbers from low to high, at most about so many; `whole`: none between whole numbers. */
export function ticks(low: number, high: number, most: number, whole = false): number[] {
  const count = Math.max(1, Math.floor(most));
  const raw = high / count - low / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  if (!(raw > 0) || !(power > 0) || !Number.isFinite(power)) return [low, high];
  let step = ([1, 2, 5, 10].find((one) => one * power >= raw * (1 - 1e-9)) ?? 10) * power;
  if (whole) step = Math.max(1, step);
  const found: number[] = [];
  const first = Math.ceil(low / step);
  for (let at = 0; at <= 2 * count + 2; at++) {
    const exact = (first + at) * step;
    const value = step >= 1 ? exact : Number(exact.toPrecision(15));
    if (value > high) break;
    // Steps that are finer than the numbers of this size give the same one again.
    if (value >= low && value !== found.at(-1)) found.push(Object.is(value, -0) ? 0 : value);
  }
  return found;
}

/** So many digits that neighbours differ. */
export function digits(values: (number | null)[]): number {
  const known = values.filter((one): one is number => one !== null && Number.isFinite(one));
  const largest = Math.max(...known.map(Math.abs), 0);
  let step = Infinity;
  for (let at = 1; at < known.length; at++) step = Math.min(step, Math.abs((known[at] as number) - (known[at - 1] as number)));
  if (!(largest > 0) || !(step > 0) || !Number.isFinite(step)) return 6;
  return Math.min(17, Math.max(1, Math.ceil(Math.log10(largest / step) + 1e-9) + 1));
}
