// The button that gives the view as one HTML file, to be opened without steno; while it is made it says how far it is.
import { useRef, useState } from "preact/hooks";
import { said } from "../edit/edits";
import { count, messageOf } from "../parts/words";
import { toAddress } from "../state/address";
import { view } from "../state/view";
import { AskError } from "../wire/client";
import { type Progress, exported } from "../wire/exported";

/** As the cards on the screen ask for theirs: what is in the file is drawn as here. */
function bins(): number {
  const card = document.querySelector<HTMLElement>(".cardrow .card");
  return Math.min(4096, Math.max(100, Math.ceil((card?.clientWidth ?? 420) / 50) * 50));
}

/** The charts are made once as the page shows them, then again with more bins where these find room. */
function words(now: Progress, shown: number): string {
  if (now.of === 0) return "reading the runs…";
  return `${count(now.done)} of ${now.of === 1 ? "1 chart" : `${count(now.of)} charts`}${now.bins > shown ? " in detail" : ""}…`;
}

export function Export() {
  const [now, setNow] = useState<string | null>(null);
  const stop = useRef(new AbortController());
  const make = async () => {
    stop.current = new AbortController();
    const { signal } = stop.current;
    const width = bins();
    setNow("reading the runs…");
    try {
      const made = await exported(toAddress(view.value), width, signal, (one) => setNow(words(one, width)));
      const link = document.createElement("a");
      link.href = URL.createObjectURL(made);
      link.download = "runs.html";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    } catch (wrong) {
      if (!signal.aborted) {
        const remedy = wrong instanceof AskError ? wrong.remedy : "";
        said.value = { text: messageOf(wrong), problems: remedy ? [{ run: "", error: remedy }] : [], undo: null, failed: true };
      }
    }
    setNow(null);
  };
  // The same button, so that the focus stays where it is.
  return (
    <span class="exporting">
      <button onClick={() => (now === null ? void make() : stop.current.abort())} title={now === null ? "The table and the charts as one HTML file, to be opened without steno" : "Write no file"}>
        {now === null ? "export" : "cancel export"}
      </button>
      <span class="quiet" role="status">
        {now}
      </span>
    </span>
  );
}
