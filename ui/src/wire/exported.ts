// The view as one file: how far the server is comes as lines of JSON, then the file.
import { AskError, ask, posted } from "./client";

export interface Progress {
  done: number;
  /** Charts; 0 before the runs are read. */
  of: number;
  bins: number;
}

type Line = Progress | { bytes: number } | { error: string; remedy: string };

export async function exported(view: string, width: number, signal: AbortSignal, tell: (now: Progress) => void): Promise<Blob> {
  const init = posted({ view, title: "", width }, signal);
  const answer = await ask("api/export", { ...init, headers: { ...init.headers, Accept: "application/vnd.steno.export" } });
  try {
    return await read(answer.body as ReadableStream<Uint8Array<ArrayBuffer>>, tell);
  } catch (wrong) {
    throw wrong instanceof AskError || signal.aborted ? wrong : brokenOff();
  }
}

export async function read(body: ReadableStream<Uint8Array<ArrayBuffer>>, tell: (now: Progress) => void): Promise<Blob> {
  const reader = body.getReader();
  let head = new Uint8Array(0);
  for (;;) {
    const end = head.indexOf(10);
    if (end < 0) {
      const { done, value } = await reader.read();
      if (done) break;
      head = joined(head, value);
      continue;
    }
    const line = JSON.parse(new TextDecoder().decode(head.subarray(0, end))) as Line;
    head = head.slice(end + 1);
    if ("error" in line) throw new AskError(line.error, line.remedy);
    if ("bytes" in line) return whole(reader, head, line.bytes);
    tell(line);
  }
  throw brokenOff();
}

async function whole(reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>, first: Uint8Array<ArrayBuffer>, bytes: number): Promise<Blob> {
  const parts = [first];
  let had = first.length;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    had += value.length;
  }
  if (had !== bytes) throw brokenOff();
  return new Blob(parts, { type: "text/html" });
}

function joined(one: Uint8Array, other: Uint8Array): Uint8Array<ArrayBuffer> {
  const made = new Uint8Array(one.length + other.length);
  made.set(one);
  made.set(other, one.length);
  return made;
}

function brokenOff(): AskError {
  return new AskError("the viewer ended before the file was whole", "Is `steno view` still running? Export again.");
}
