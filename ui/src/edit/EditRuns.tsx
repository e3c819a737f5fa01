// What can be changed of several runs at once: tags, notes, colour, and whether they are archived.
import { useState } from "preact/hooks";
import { usePopover } from "../parts/focus";
import { many } from "../parts/words";
import { edit } from "./edits";
import { tagsOf } from "./tags";

/** Whether runs are in the archive, with a way back. */
export async function archive(runs: string[], archived: boolean): Promise<void> {
  await edit(runs, "archived", archived, () => void edit(runs, "archived", !archived));
}

export function EditRuns({ runs, close }: { runs: string[]; close: () => void }) {
  const [tags, setTags] = useState("");
  const [notes, setNotes] = useState("");
  const [colour, setColour] = useState("#0072b2");
  const [busy, setBusy] = useState(false);
  const act = async (doing: Promise<unknown>) => {
    setBusy(true);
    await doing;
    setBusy(false);
  };
  const wanted = tagsOf(tags);
  const popover = usePopover(close);
  return (
    <div
      ref={popover}
      class="popover editruns"
      role="dialog"
      aria-label="Edit runs"
      aria-busy={busy}
      onKeyDown={(event) => event.key !== "Escape" && event.stopPropagation()}
    >
      <div class="poprow">
        <b>{many(runs.length, "run")}</b>
        <button class="away" onClick={close} aria-label="Close">
          ✕
        </button>
      </div>
      <div class="poprow">
        <input placeholder="tags, with commas between" aria-label="Tags" value={tags} onInput={(event) => setTags(event.currentTarget.value)} autofocus />
        <button disabled={!wanted.length} onClick={() => void act(edit(runs, "tags", { add: wanted }).then((good) => good && setTags("")))}>
          add
        </button>
        <button disabled={!wanted.length} onClick={() => void act(edit(runs, "tags", { remove: wanted }).then((good) => good && setTags("")))}>
          remove
        </button>
      </div>
      <div class="poprow">
        <textarea rows={3} placeholder="notes of each of them" aria-label="Notes" value={notes} onInput={(event) => setNotes(event.currentTarget.value)} />
        <button onClick={() => void act(edit(runs, "notes", notes))} title="These notes take the place of those that they have">
          set
        </button>
      </div>
      <div class="poprow">
        <label>
          colour <input type="color" value={colour} onInput={(event) => setColour(event.currentTarget.value)} />
        </label>
        <button onClick={() => void act(edit(runs, "colour", colour))}>set</button>
        <button onClick={() => void act(edit(runs, "colour", ""))} title="The viewer chooses">
          automatic
        </button>
      </div>
      <div class="poprow">
        <button onClick={() => void act(archive(runs, true))} title="Leave them out of lists; nothing is removed">
          archive
        </button>
        <button onClick={() => void act(archive(runs, false))}>back from the archive</button>
      </div>
    </div>
  );
}
