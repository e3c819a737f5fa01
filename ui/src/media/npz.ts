// Arrays of an NPZ, as steno keeps meshes: a zip of npy files, whose sizes are believed only as far as their bytes reach.
import { inflated } from "./grey";

export interface Grid {
  shape: number[];
  data: Float32Array | Uint8Array | Int32Array;
}

const TYPES: Record<string, { size: number; of: (buffer: ArrayBuffer) => Grid["data"] }> = {
  "<f4": { size: 4, of: (buffer) => new Float32Array(buffer) },
  "|u1": { size: 1, of: (buffer) => new Uint8Array(buffer) },
  "<i4": { size: 4, of: (buffer) => new Int32Array(buffer) },
};
const [MOST_ENTRIES, MOST_BYTES] = [16, 256 << 20];

/** The arrays by name. */
export async function arrays(data: ArrayBuffer): Promise<Map<string, Grid>> {
  const view = new DataView(data);
  const text = (at: number, size: number) => new TextDecoder().decode(new Uint8Array(data, at, size));
  let end = data.byteLength - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end -= 1;
  if (end < 0) throw new Error("it is no NPZ");
  const count = view.getUint16(end + 10, true);
  if (count > MOST_ENTRIES) throw new Error(`it has ${count} arrays`);
  const found = new Map<string, Grid>();
  let at = view.getUint32(end + 16, true);
  for (let entry = 0; entry < count; entry++) {
    if (view.getUint32(at, true) !== 0x02014b50) throw new Error("its directory is damaged");
    const [method, packed, whole] = [view.getUint16(at + 10, true), view.getUint32(at + 20, true), view.getUint32(at + 24, true)];
    const [nameSize, extraSize, noteSize, place] = [view.getUint16(at + 28, true), view.getUint16(at + 30, true), view.getUint16(at + 32, true), view.getUint32(at + 42, true)];
    const name = text(at + 46, nameSize).replace(/\.npy$/, "");
    at += 46 + nameSize + extraSize + noteSize;
    const start = place + 30 + view.getUint16(place + 26, true) + view.getUint16(place + 28, true);
    if (whole > MOST_BYTES || start + packed > data.byteLength) throw new Error(`its array ${name} is damaged`);
    const part = new Uint8Array(data, start, packed);
    const bytes = method === 0 ? part : await inflated([part], whole, "deflate-raw");
    found.set(name, npy(bytes, name));
  }
  return found;
}

function npy(bytes: Uint8Array, name: string): Grid {
  const wrong = (what: string) => new Error(`its array ${name} ${what}`);
  if (bytes.length < 12 || bytes[0] !== 0x93 || bytes[1] !== 0x4e) throw wrong("is no npy");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const begin = bytes[6] === 1 ? 10 : 12;
  const size = begin === 10 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (begin + size > bytes.length) throw wrong("is cut off");
  const head = new TextDecoder().decode(bytes.subarray(begin, begin + size));
  const [dtype, order, shape] = [/'descr':\s*'([^']*)'/, /'fortran_order':\s*(True|False)/, /'shape':\s*\(([\d,\s]*)\)/].map((one) => one.exec(head)?.[1]);
  const type = TYPES[dtype ?? ""];
  if (!type || order !== "False" || shape === undefined) throw wrong(`has the type ${String(dtype)}`);
  const sizes = shape.split(",").map((one) => one.trim()).filter(Boolean).map(Number);
  const wanted = sizes.reduce((product, one) => product * one, 1) * type.size;
  if (!(wanted <= bytes.length - begin - size)) throw wrong("is cut off");
  // A copy, since a typed array begins at a multiple of its size.
  return { shape: sizes, data: type.of(bytes.slice(begin + size, begin + size + wanted).buffer) };
}

export interface Solid {
  /** x, y, z of each vertex, in a cube from -1 to 1; those that are not finite are left out. */
  vertices: Float32Array;
  colours: Uint8Array | null;
  /** Of three vertices each; empty: a cloud of points. */
  faces: Uint32Array;
  /** Vertices that are not shown. */
  left: number;
  low: number[];
  high: number[];
}

/** One of a batch, ready to be drawn. */
export function solidOf(found: Map<string, Grid>, at: number): Solid {
  const [vertices, colours, faces] = ["vertices", "colors", "faces"].map((name) => found.get(name));
  const [batch, count, wide] = vertices?.shape ?? [];
  if (!vertices || batch === undefined || count === undefined || wide !== 3 || at >= batch || !(vertices.data instanceof Float32Array)) throw new Error("it has no vertices");
  const own = vertices.data.subarray(at * count * 3, (at + 1) * count * 3);
  const [low, high] = [[Infinity, Infinity, Infinity], [-Infinity, -Infinity, -Infinity]] as [number[], number[]];
  const place = new Int32Array(count).fill(-1);
  let kept = 0;
  for (let index = 0; index < count; index++) {
    const point = [own[3 * index], own[3 * index + 1], own[3 * index + 2]] as number[];
    if (!point.every(Number.isFinite)) continue;
    place[index] = kept++;
    point.forEach((value, axis) => {
      low[axis] = Math.min(low[axis] as number, value);
      high[axis] = Math.max(high[axis] as number, value);
    });
  }
  const room = Math.max(...high.map((one, axis) => one / 2 - (low[axis] as number) / 2), 1e-30);
  const made = new Float32Array(kept * 3);
  const paint = colours && colours.data instanceof Uint8Array && colours.shape.join() === vertices.shape.join() ? new Uint8Array(kept * 3) : null;
  for (let index = 0; index < count; index++) {
    const to = place[index] as number;
    if (to < 0) continue;
    for (let axis = 0; axis < 3; axis++) {
      made[3 * to + axis] = ((own[3 * index + axis] as number) - ((low[axis] as number) / 2 + (high[axis] as number) / 2)) / room;
      if (paint) paint[3 * to + axis] = colours?.data[(at * count + index) * 3 + axis] as number;
    }
  }
  const corners: number[] = [];
  const [faceBatch, faceCount, corner] = faces?.shape ?? [];
  if (faces && corner === 3 && faceBatch !== undefined && faceCount !== undefined && at < faceBatch)
    for (let face = 0; face < faceCount; face++) {
      const three = [0, 1, 2].map((index) => place[faces.data[(at * faceCount + face) * 3 + index] as number] ?? -1);
      if (three.every((one) => one >= 0)) corners.push(...three);
    }
  return { vertices: made, colours: paint, faces: Uint32Array.from(corners), left: count - kept, low, high };
}
