// The button that gives the view as one HTML file: its table and charts, to be opened without steno.
import { useState } from "preact/hooks";
import { said } from "../edit/edits";
import { toAddress } from "../state/address";
import { view } from "../state/view";
import * as client from "../wire/client";

/** As the cards on the screen ask for theirs: what is in the file is drawn as here. */
function bins(): number {
  const card = document.querySelector<HTMLElement>(".cardrow .card");
  return Math.min(4096, Math.max(100, Math.ceil((card?.clientWidth ?? 420) / 50) * 50));
}

export function Export() {
  const [busy, setBusy] = useState(false);
  const make = async () => {
    setBusy(true);
    try {
      const made = await client.exported(toAddress(view.value), "", bins());
      const link = document.createElement("a");
      link.href = URL.createObjectURL(made);
      link.download = "runs.html";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    } catch (wrong) {
      const remedy = wrong instanceof client.AskError ? wrong.remedy : "";
      said.value = { text: wrong instanceof Error ? wrong.message : String(wrong), problems: remedy ? [{ run: "", error: remedy }] : [], undo: null, failed: true };
    }
    setBusy(false);
  };
  return (
    <button disabled={busy} onClick={() => void make()} title="The table and the charts as one HTML file, to be opened without steno">
      {busy ? "exporting…" : "export"}
    </button>
  );
}
