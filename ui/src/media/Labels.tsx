// The labels of a card's boxes and masks, to show and to hide them, and the confidence from which on boxes are shown.
import { nth } from "../chart/palette";
import { dark } from "../parts/theme";
import { choose, chosenOf } from "./chosen";
import { foundOf, hides, labelsOf, turned } from "./labels";
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
  const chosen = chosenOf(name);
  const { labels, scored } = labelsOf(items, foundOf(name).value);
  if (labels.length === 0) return null;
  const { least } = chosen;
  const some = chosen.only || chosen.names.length > 0;
  return (
    <div class="labels" role="group" aria-label="Labels">
      <button aria-pressed={!some} title="All boxes and masks, or none" onClick={() => choose(name, { ...chosen, only: !some, names: [] })}>
        {some ? "show all" : "hide all"}
      </button>
      {labels.slice(0, MOST).map((label) => (
        <label key={label}>
          <input type="checkbox" checked={!hides(chosen, label)} onChange={() => choose(name, turned(chosen, label))} />
          <i style={{ background: labelColour(label) }} />
          <span>{label || "no label"}</span>
        </label>
      ))}
      {labels.length > MOST && <span class="quiet">and {labels.length - MOST} more, drawn with “show all”</span>}
      {scored && (
        <label>
          confidence ≥ <output>{least.toFixed(2)}</output>
          <input type="range" min={0} max={1} step={0.01} value={least} aria-label="Least confidence" onInput={(event) => choose(name, { ...chosen, least: Number(event.currentTarget.value) }, true)} />
        </label>
      )}
    </div>
  );
}
