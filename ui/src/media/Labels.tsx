// The labels of a card's boxes and masks, to show and to hide them, and the confidence from which on boxes are shown.
import { nth } from "../chart/palette";
import { dark } from "../parts/theme";
import { chosenOf, foundOf, labelsOf } from "./labels";
import type { Item } from "./types";

const MOST = 200;

const places = new Map<string, number>();

/** The same colour for a label on all cards; the first dozen have one each. */
export function labelColour(label: string): string {
  const place = places.get(label) ?? places.size;
  places.set(label, place);
  return nth(place, dark.value);
}

export function Labels({ name, items }: { name: string; items: Item[] }) {
  const state = chosenOf(name);
  const { labels, scored } = labelsOf(items, foundOf(name).value);
  if (labels.length === 0) return null;
  const { hidden, least } = state.value;
  const toggle = (label: string) => {
    const next = new Set(hidden);
    if (!next.delete(label)) next.add(label);
    state.value = { ...state.value, hidden: next };
  };
  return (
    <div class="labels" role="group" aria-label="Labels">
      <button aria-pressed={hidden.size === 0} title="All boxes and masks, or none" onClick={() => (state.value = { ...state.value, hidden: hidden.size ? new Set() : new Set(labels) })}>
        {hidden.size ? "show all" : "hide all"}
      </button>
      {labels.slice(0, MOST).map((label) => (
        <label key={label}>
          <input type="checkbox" checked={!hidden.has(label)} onChange={() => toggle(label)} />
          <i style={{ background: labelColour(label) }} />
          <span>{label || "no label"}</span>
        </label>
      ))}
      {labels.length > MOST && <span class="quiet">and {labels.length - MOST} more, drawn with “show all”</span>}
      {scored && (
        <label>
          confidence ≥ <output>{least.toFixed(2)}</output>
          <input type="range" min={0} max={1} step={0.01} value={least} aria-label="Least confidence" onInput={(event) => (state.value = { ...state.value, least: Number(event.currentTarget.value) })} />
        </label>
      )}
    </div>
  );
}
