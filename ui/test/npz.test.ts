import { describe, expect, it } from "vitest";
import { arrays, solidOf } from "../src/media/npz";
import { matrix } from "../src/media/scene";

function npy(descr: string, shape: string, data: ArrayBuffer): Uint8Array {
  const head = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape}), }\n`;
  const made = new Uint8Array(10 + head.length + data.byteLength);
  made.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, head.length & 255, head.length >> 8]);
  made.set(new TextEncoder().encode(head), 10);
  made.set(new Uint8Array(data), 10 + head.length);
  return made;
}

/** A zip whose entries are stored as they are, or say that they are packed. */
function zip(entries: [string, Uint8Array, number?, number?][]): ArrayBuffer {
  const bytes: number[] = [];
  const directory: number[] = [];
  const two = (value: number) => [value & 255, (value >> 8) & 255];
  const four = (value: number) => [...two(value & 0xffff), ...two(value >>> 16)];
  for (const [name, data, method = 0, whole = data.length] of entries) {
    const common = [...two(20), ...two(0), ...two(method), ...four(0), ...four(0), ...four(data.length), ...four(whole), ...two(name.length), ...two(0)];
    directory.push(...four(0x02014b50), ...two(20), ...common, ...two(0), ...two(0), ...two(0), ...four(0), ...four(bytes.length), ...new TextEncoder().encode(name));
    bytes.push(...four(0x04034b50), ...common, ...new TextEncoder().encode(name), ...data);
  }
  const start = bytes.length;
  bytes.push(...directory, ...four(0x06054b50), ...two(0), ...two(0), ...two(entries.length), ...two(entries.length), ...four(directory.length), ...four(start), ...two(0));
  return Uint8Array.from(bytes).buffer;
}

const points = (...values: number[]) => npy("<f4", `1, ${values.length / 3}, 3`, Float32Array.from(values).buffer);

describe("an NPZ", () => {
  it("has its arrays by name", async () => {
    const found = await arrays(zip([["vertices.npy", points(0, 0, 0, 2, 4, 8)], ["colors.npy", npy("|u1", "1, 2, 3", Uint8Array.from([1, 2, 3, 4, 5, 6]).buffer)]]));
    expect([...(found.get("vertices")?.data ?? [])]).toEqual([0, 0, 0, 2, 4, 8]);
    expect(found.get("colors")?.shape).toEqual([1, 2, 3]);
  });

  it("is refused where it is damaged or says that it is more than it is", async () => {
    const packed = new Uint8Array(await new Response(new Blob([points(1, 2, 3) as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new CompressionStream("deflate-raw"))).arrayBuffer());
    expect([...((await arrays(zip([["vertices.npy", packed, 8, points(1, 2, 3).length]]))).get("vertices")?.data ?? [])]).toEqual([1, 2, 3]);
    for (const bad of [
      new ArrayBuffer(3), new ArrayBuffer(100), zip([["vertices.npy", points(1, 2, 3).slice(0, 30)]]), zip([["v.npy", packed, 8, 2 ** 31]]), zip([["v.npy", packed, 8, 5000]]),
      zip([["v.npy", npy("|O", "1", new ArrayBuffer(8))]]), zip([["v.npy", npy("<f4", "99999999, 99999999, 3", new ArrayBuffer(8))]]), zip([["v.npy", npy("<f4", "1, -1, 3", new ArrayBuffer(8))]]),
      zip(Array.from({ length: 17 }, () => ["v.npy", points(1, 2, 3)])),
    ])
      await expect(arrays(bad)).rejects.toThrow();
  });

  it("gives an object in a cube; what is not finite is left out with its faces", async () => {
    const found = await arrays(
      zip([
        ["vertices.npy", points(0, 0, 0, 10, 0, 0, NaN, 0, 0, 0, 4, 0)],
        ["faces.npy", npy("<i4", "1, 3, 3", Int32Array.from([0, 1, 3, 0, 1, 2, 0, 1, 99]).buffer)],
      ]),
    );
    const solid = solidOf(found, 0);
    expect([solid.left, [...solid.faces], solid.low, solid.high]).toEqual([1, [0, 1, 2], [0, 0, 0], [10, 4, 0]]);
    expect([...solid.vertices].map((one) => Number(one.toFixed(3)))).toEqual([-1, -0.4, 0, 1, -0.4, 0, -1, 0.4, 0]);
    expect(() => solidOf(found, 1)).toThrow();
    expect(() => solidOf(new Map(), 0)).toThrow();
  });
});

describe("the camera", () => {
  it("keeps all of the cube on the screen, from everywhere", () => {
    for (let turn = 0; turn < 6.3; turn += 0.3)
      for (const tilt of [-1.57, -0.5, 0, 0.5, 1.57])
        for (const wide of [0.5, 1, 3]) {
          const view = matrix({ turn, tilt, zoom: 1 }, wide);
          const at = (row: number, point: number[]) => point.reduce((sum, value, axis) => sum + value * (view[4 * axis + row] as number), view[12 + row] as number);
          for (const point of [[1, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, -1], [-1, -1, 1]]) {
            const far = at(3, point);
            expect(far).toBeGreaterThan(0);
            for (const row of [0, 1, 2]) expect(Math.abs(at(row, point) / far)).toBeLessThanOrEqual(1.2);
          }
        }
  });

  it("has z up and sees the front in front", () => {
    const view = matrix({ turn: 0, tilt: 0, zoom: 1 }, 1);
    const clip = (x: number, y: number, z: number) => [0, 1, 2, 3].map((row) => x * (view[row] as number) + y * (view[4 + row] as number) + z * (view[8 + row] as number) + (view[12 + row] as number));
    const [up, right, front, back] = [clip(0, 0, 1), clip(1, 0, 0), clip(0, -1, 0), clip(0, 1, 0)];
    expect((up[1] as number) / (up[3] as number)).toBeGreaterThan(0.2);
    expect((right[0] as number) / (right[3] as number)).toBeGreaterThan(0.2);
    expect((front[2] as number) / (front[3] as number)).toBeLessThan((back[2] as number) / (back[3] as number));
  });
});
