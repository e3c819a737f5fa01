// The numbers in a grey PNG of 8 or 16 bits, as steno writes masks: a browser's own decoder would round them to colours.

export interface Grey {
  width: number;
  height: number;
  values: Uint16Array;
}

const MAGIC = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const MOST_PIXELS = 1 << 26;

export async function decodeGrey(data: ArrayBuffer): Promise<Grey> {
  const view = new DataView(data);
  if (data.byteLength < 33 || MAGIC.some((byte, at) => view.getUint8(at) !== byte)) throw new Error("it is no PNG");
  const [width, height, depth] = [view.getUint32(16), view.getUint32(20), view.getUint8(24)];
  if (view.getUint8(25) !== 0 || view.getUint8(28) !== 0 || (depth !== 8 && depth !== 16)) throw new Error("its PNG is not a grey one of 8 or 16 bits");
  if (width === 0 || height === 0 || width * height > MOST_PIXELS) throw new Error(`it has ${width} × ${height} pixels`);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 8; at + 12 <= data.byteLength; ) {
    const size = view.getUint32(at);
    if (at + 12 + size > data.byteLength) break;
    if (view.getUint32(at + 4) === 0x49444154) parts.push(new Uint8Array(data, at + 8, size));
    at += 12 + size;
  }
  const step = depth / 8;
  const rows = await inflated(parts, height * (1 + width * step));
  return { width, height, values: unfiltered(rows, width, height, step) };
}

/** Exactly so many bytes; a stream that unfolds into more is cut off there. */
export async function inflated(parts: Uint8Array<ArrayBuffer>[], size: number, format: CompressionFormat = "deflate"): Promise<Uint8Array> {
  const out = new Uint8Array(size);
  const reader = new Blob(parts).stream().pipeThrough(new DecompressionStream(format)).getReader();
  let at = 0;
  while (at < size) {
    const { done, value } = await reader.read();
    if (done) throw new Error("it is cut off");
    out.set(value.subarray(0, size - at), at);
    at += value.length;
  }
  void reader.cancel().catch(() => undefined);
  return out;
}

export function unfiltered(rows: Uint8Array, width: number, height: number, step: number): Uint16Array {
  const size = width * step;
  const values = new Uint16Array(width * height);
  let above = new Uint8Array(size);
  for (let y = 0; y < height; y++) {
    const start = y * (size + 1);
    const kind = rows[start] as number;
    const line = rows.subarray(start + 1, start + 1 + size);
    for (let at = 0; at < size; at++) {
      const left = at >= step ? (line[at - step] as number) : 0;
      const up = above[at] as number;
      const corner = at >= step ? (above[at - step] as number) : 0;
      line[at] = (line[at] as number) + predicted(kind, left, up, corner);
    }
    for (let x = 0; x < width; x++) values[y * width + x] = step === 2 ? ((line[2 * x] as number) << 8) | (line[2 * x + 1] as number) : (line[x] as number);
    above = line as Uint8Array<ArrayBuffer>;
  }
  return values;
}

function predicted(kind: number, left: number, up: number, corner: number): number {
  switch (kind) {
    case 1:
      return left;
    case 2:
      return up;
    case 3:
      return (left + up) >> 1;
    case 4: {
      const guess = left + up - corner;
      const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
      return a <= b && a <= c ? left : b <= c ? up : corner;
    }
    default:
      return 0;
  }
}
