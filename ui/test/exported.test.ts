import { expect, test } from "vitest";
import { AskError } from "../src/wire/client";
import { type Progress, read } from "../src/wire/exported";

const LINES = ['{"done":0,"of":0,"bins":450}', '{"done":7,"of":12,"bins":450}', '{"bytes":8}', "a\nb\0\n{}c"].join("\n");

/** The same bytes in pieces of one size: where a network cuts them means nothing. */
function pieces(text: string, size: number): ReadableStream<Uint8Array<ArrayBuffer>> {
  const bytes = new TextEncoder().encode(text);
  let at = 0;
  return new ReadableStream({
    pull(to) {
      if (at >= bytes.length) to.close();
      else to.enqueue(bytes.slice(at, (at += size)));
    },
  });
}

test.each([1, 2, 3, 7, 28, 29, 30, 1000])("a file in pieces of %i bytes", async (size) => {
  const told: Progress[] = [];
  const made = await read(pieces(LINES, size), (now) => told.push(now));
  expect(await made.text()).toBe("a\nb\0\n{}c");
  expect(told.map((one) => [one.done, one.of])).toEqual([[0, 0], [7, 12]]);
});

test("what is wrong is said, and so is a file that is cut off", async () => {
  await expect(read(pieces('{"done":0,"of":0,"bins":9}\n{"error":"too large","remedy":"draw fewer"}\n', 5), () => 0)).rejects.toEqual(new AskError("too large", "draw fewer"));
  for (const cut of [0, 20, 40, LINES.length - 1]) await expect(read(pieces(LINES.slice(0, cut), 9), () => 0)).rejects.toThrow("before the file was whole");
});
