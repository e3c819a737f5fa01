// The file of a media item, asked for on its own.
import { address } from "./data";
import type { Item } from "./types";

/** Gives what `read` makes of the file, or says why there is none; neither once what it returns was called. */
export function load<T>(item: Item, read: (answer: Response) => Promise<T>, gives: (found: T) => void, fails: (problem: unknown) => void, headers: HeadersInit = {}): () => void {
  const abort = new AbortController();
  fetch(address(item.run, item.file ?? ""), { credentials: "same-origin", signal: abort.signal, headers })
    .then((answer) => {
      if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
      return read(answer);
    })
    .then((found) => {
      if (!abort.signal.aborted) gives(found);
    })
    .catch((problem: unknown) => {
      if (!abort.signal.aborted) fails(problem);
    });
  return () => abort.abort();
}
