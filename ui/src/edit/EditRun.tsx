// What can be changed on a run's own page: its name, tags, notes, colour, and whether it is archived.
import { useEffect, useState } from "preact/hooks";
import { known } from "../state/table";
import { archive } from "./EditRuns";
import { SaidBar } from "./Said";
import { edit, mayEdit } from "./edits";

interface Props {
  run: string;
  tags: string[];
  notes: string;
}

/** A text that follows what others write, until somebody types here. */
function useText(said: string): [string, (text: string) => void, boolean] {
  const [typed, setTyped] = useState<string | null>(null);
  useEffect(() => {
    if (typed === said) setTyped(null);
  }, [said, typed]);
  return [typed ?? said, setTyped, typed !== null && typed !== said];
}

function Tags({ run, tags }: { run: string; tags: string[] }) {
  const [more, setMore] = useState("");
  const add = () => {
    const tag = more.trim();
    setMore("");
    if (tag && !tags.includes(tag)) void edit([run], "tags", { add: [tag] });
  };
  return (
    <div class="tags">
      {tags.map((tag) => (
        <span class="tag" key={tag}>
          {tag}
          <button class="tool" aria-label={`Remove the tag ${tag}`} onClick={() => void edit([run], "tags", { remove: [tag] })}>
            ✕
          </button>
        </span>
      ))}
      <input
        placeholder="another tag"
        aria-label="Add a tag"
        value={more}
        onInput={(event) => setMore(event.currentTarget.value)}
        onBlur={add}
        onKeyDown={(event) => event.key === "Enter" && add()}
      />
    </div>
  );
}

export function EditRun({ run, tags, notes }: Props) {
  const row = known.value.get(run);
  const [name, setName, renamed] = useText(row?.name ?? "");
  const [text, setText, noted] = useText(notes);
  if (!mayEdit.value) return null;
  const rename = () => {
    if (renamed) void edit([run], "name", name.trim());
  };
  const note = () => {
    if (noted) void edit([run], "notes", text);
  };
  return (
    <section class="editrun" aria-label="Edit the run">
      <label>
        name <input value={name} title="Empty: the recorded name" onInput={(event) => setName(event.currentTarget.value)} onBlur={rename} onKeyDown={(event) => event.key === "Enter" && rename()} />
      </label>
      <label>
        colour{" "}
        <input type="color" value={row?.colour || "#888888"} onChange={(event) => void edit([run], "colour", event.currentTarget.value)} />
        {row?.colour && (
          <button onClick={() => void edit([run], "colour", "")} title="The viewer chooses">
            automatic
          </button>
        )}
      </label>
      <label class="check">
        <input type="checkbox" checked={row?.archived ?? false} onChange={(event) => void archive([run], event.currentTarget.checked)} /> archived
      </label>
      <span class="tags">
        tags <Tags run={run} tags={tags} />
      </span>
      <label class="wide">
        notes
        <textarea
          rows={Math.min(12, Math.max(2, text.split("\n").length))}
          value={text}
          placeholder="what was tried, what came of it"
          onInput={(event) => setText(event.currentTarget.value)}
          onBlur={note}
          onKeyDown={(event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) note();
          }}
        />
        <small class="quiet">{noted ? "saved when you leave the box, or with Ctrl+Enter" : ""}</small>
      </label>
      <SaidBar />
    </section>
  );
}
