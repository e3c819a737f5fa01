// A logged text, as it is.
import { useEffect, useState } from "preact/hooks";
import { many } from "../parts/words";
import { address } from "./data";
import { Broken, Save } from "./Tile";
import type { Item } from "./types";

const MOST = 256 << 10;

/** The whole text, also of one that has a file of its own; null until it is there. */
export function useText(item: Item): { text: string | null; wrong: string } {
  const inline = typeof item.meta["text"] === "string" ? item.meta["text"] : null;
  const [found, setFound] = useState<{ text: string | null; wrong: string }>({ text: null, wrong: "" });
  useEffect(() => {
    if (inline !== null || item.file === null) return;
    const abort = new AbortController();
    fetch(address(item.run, item.file), { credentials: "same-origin", signal: abort.signal, headers: { Range: `bytes=0-${MOST - 1}` } })
      .then(async (answer) => {
        if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
        setFound({ text: await answer.text(), wrong: "" });
      })
      .catch((problem: unknown) => {
        if (!abort.signal.aborted) setFound({ text: null, wrong: problem instanceof Error ? problem.message : String(problem) });
      });
    return () => abort.abort();
  }, [inline, item.run, item.file]);
  return inline !== null ? { text: inline, wrong: "" } : found;
}

export function Words({ item }: { item: Item; full: boolean }) {
  const { text, wrong } = useText(item);
  if (wrong) return <Broken>It cannot be read: {wrong}.</Broken>;
  if (text === null) return null;
  const cut = item.bytes !== null && item.bytes > MOST;
  return (
    <div class="words" tabIndex={0} role="group" aria-label="Text">
      <pre>{text}</pre>
      {cut && (
        <p class="warn">
          The first {many(MOST >> 10, "KiB")}. <Save item={item} what="Save the whole" />
        </p>
      )}
    </div>
  );
}
