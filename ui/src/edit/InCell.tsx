// A cell of the table that is edited in its place: a run's name, tags, or notes.
import { useRef, useState } from "preact/hooks";
import { cell } from "../parts/words";
import type { Value } from "../wire/types";
import { type Field, edit, mayEdit } from "./edits";
import { tagChange, tagsOf } from "./tags";

const EDITED = new Set(["name", "tags", "notes"]);

/** Texts of one line, and tags without a comma: others have the run's page. */
export function inCell(field: string, value: Value | undefined): boolean {
  if (!mayEdit.value || !EDITED.has(field) || value === undefined) return false;
  return Array.isArray(value) ? value.every((one) => typeof one === "string" && !one.includes(",")) : !String(value ?? "").includes("\n");
}

interface Props {
  run: string;
  field: Field;
  value: Value | undefined;
}

/** The pencil, and the box that it becomes. */
export function InCell({ run, field, value }: Props) {
  const [text, setText] = useState<string | null>(null);
  // The box goes away with the focus in it, which is one more blur.
  const typing = useRef(false);
  const before = cell(value, field);
  if (text === null)
    return (
      <button
        class="pencil"
        title={`Edit ${field}`}
        aria-label={`Edit ${field} of ${run}`}
        onClick={(event) => {
          event.stopPropagation();
          typing.current = true;
          setText(before);
        }}
      >
        ✎
      </button>
    );
  const leave = () => {
    typing.current = false;
    setText(null);
  };
  const save = () => {
    if (!typing.current) return;
    leave();
    if (text === before) return;
    if (field !== "tags") void edit([run], field, text.trim());
    else {
      const change = tagChange(value as string[], tagsOf(text));
      if (change) void edit([run], field, change);
    }
  };
  return (
    <input
      class="incell"
      aria-label={`${field} of ${run}`}
      title={field === "tags" ? "Tags, with commas between" : field === "name" ? "Empty: the recorded name" : ""}
      ref={(node) => {
        if (node && node !== document.activeElement) node.focus();
      }}
      value={text}
      onInput={(event) => setText(event.currentTarget.value)}
      onBlur={save}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.key === "Enter") save();
        if (event.key === "Escape") leave();
      }}
    />
  );
}
