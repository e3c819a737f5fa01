import { describe, expect, it } from "vitest";
import { WireError, decode } from "../src/wire/decode";

function answer(header: unknown, buffers: ArrayBufferView[]): ArrayBuffer {
  let text = JSON.stringify(header);
  while ((4 + text.length) % 8) text += " ";
  const head = new TextEncoder().encode(text);
  const size = buffers.reduce((sum, one) => sum + Math.ceil(one.byteLength / 8) * 8, 0);
  const made = new Uint8Array(4 + head.length + size);
  new DataView(made.buffer).setUint32(0, head.length, true);
  made.set(head, 4);
  let at = 4 + head.length;
  for (const one of buffers) {
    made.set(new Uint8Array(one.buffer, one.byteOffset, one.byteLength), at);
    at += Math.ceil(one.byteLength / 8) * 8;
  }
  return made.buffer;
}

const series = (columns: object, rows: number) => ({ run: "a", key: "k", kind: "points", rows, points: rows, columns });

describe("decode", () => {
  it("gives each column its type", () => {
    const header = {
      cards: [
        {
          id: "c",
          series: [
            series(
              {
                x: { dtype: "<f8", offset: 0, length: 3 },
                y: { dtype: "<f4", offset: 24, length: 3 },
                n: { dtype: "<u4", offset: 40, length: 3 },
                cut: { dtype: "|u1", offset: 56, length: 3 },
                nan: { dtype: "const", value: 0 },
                bad: { dtype: "const", value: { $: "-Infinity" } },
              },
              3,
            ),
          ],
        },
      ],
    };
    const x = Float64Array.of(0, 1e15 + 1, 2);
    const y = Float32Array.of(0.5, NaN, -Infinity);
    const [card] = decode(answer(header, [x, y, Uint32Array.of(1, 2, 4294967295), Uint8Array.of(0, 1, 0)]));
    const columns = card?.series[0]?.columns ?? {};
    expect(columns["x"]).toEqual(x);
    expect(columns["y"]).toEqual(y);
    expect(columns["n"]).toEqual(Uint32Array.of(1, 2, 4294967295));
    expect(columns["cut"]).toEqual(Uint8Array.of(0, 1, 0));
    expect(columns["nan"]).toEqual(Float64Array.of(0, 0, 0));
    expect(columns["bad"]).toEqual(Float64Array.of(-Infinity, -Infinity, -Infinity));
  });

  it("keeps a card that says what is wrong", () => {
    const [card] = decode(answer({ cards: [{ id: "c", error: "gone", remedy: "look" }] }, []));
    expect(card).toEqual({ id: "c", error: "gone", remedy: "look", series: [] });
  });

  it("refuses what is cut off or does not fit", () => {
    expect(() => decode(new ArrayBuffer(2))).toThrow(WireError);
    const whole = answer({ cards: [] }, []);
    expect(() => decode(whole.slice(0, 6))).toThrow(WireError);
    const short = { cards: [{ id: "c", series: [series({ x: { dtype: "<f8", offset: 0, length: 2 } }, 3)] }] };
    expect(() => decode(answer(short, [Float64Array.of(1, 2)]))).toThrow(WireError);
  });
});
