// A logged text: Markdown as it reads, and as it was written; a plain str as it is.
import { type Signal, signal } from "@preact/signals";
import type { FunctionComponent } from "preact";
import { useEffect, useState } from "preact/hooks";
import { count, messageOf } from "../parts/words";
import { load } from "./file";
import { Broken, Save } from "./parts";
import type { Item } from "./types";

const MOST_KIB = 256;
/** Longer Markdown is shown as it was written: nobody reads it in a tile. */
const MOST_MARKDOWN = 64 << 10;

/** The whole text, also of one that has a file of its own; null until it is there. */
function useText(item: Item): { text: string | null; wrong: string } {
  const inline = typeof item.meta["text"] === "string" ? item.meta["text"] : null;
  const [found, setFound] = useState<{ text: string | null; wrong: string }>({ text: null, wrong: "" });
  useEffect(() => {
    if (inline !== null || item.file === null) return;
    return load(
      item,
      (answer) => answer.text(),
      (text) => setFound({ text, wrong: "" }),
      (problem) => setFound({ text: null, wrong: messageOf(problem) }),
      { Range: `bytes=0-${MOST_KIB * 1024 - 1}` },
    );
  }, [inline, item.run, item.file]);
  return inline !== null ? { text: inline, wrong: "" } : found;
}

const markdown: Signal<FunctionComponent<{ text: string }> | null> = signal(null);

export function Words({ item }: { item: Item }) {
  const { text, wrong } = useText(item);
  const [source, setSource] = useState(false);
  const reads = item.kind === "text" && text !== null && text.length <= MOST_MARKDOWN;
  useEffect(() => {
    if (reads && markdown.value === null)
      import("./Markdown").then(
        (found) => (markdown.value = found.Markdown),
        () => undefined,
      );
  }, [reads]);
  if (wrong) return <Broken>It cannot be read: {wrong}.</Broken>;
  if (text === null) return null;
  const Reads = reads && !source ? markdown.value : null;
  return (
    <div class="words" tabIndex={0} role="group" aria-label="Text">
      {reads && (
        <button class="source" aria-pressed={source} title="As it was written" onClick={() => setSource(!source)}>
          source
        </button>
      )}
      {Reads ? <Reads text={text} /> : <pre>{text}</pre>}
      {item.bytes !== null && item.bytes > MOST_KIB * 1024 && (
        <p class="warn">
          The first {count(MOST_KIB)} KiB. <Save item={item} what="Save the whole" />
        </p>
      )}
    </div>
  );
}
