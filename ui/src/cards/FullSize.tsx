// One card over the whole page, with more bins, and the values at the cursor beside it.
import { useEffect, useState } from "preact/hooks";
import { drawn } from "../chart/lines";
import { Media } from "../media/Lazy";
import { useModal } from "../parts/focus";
import { number } from "../parts/words";
import { mediaNames } from "../state/keys";
import { change, view } from "../state/view";
import { CardView } from "./CardView";
import { cursor, readings, xInWords } from "./Chart";
import { stateOf } from "./data";
import { lookOf } from "./look";

function Legend({ name }: { name: string }) {
  const { card } = stateOf(`full:${name}`).value;
  if (!card) return null;
  const all = drawn(card, lookOf, "none");
  const x = cursor.value?.x ?? view.value.zoom?.[1] ?? Infinity;
  const rows = readings(all, x, card);
  return (
    <aside class="legend" aria-label="Values">
      <div class="when">{Number.isFinite(x) ? xInWords(x) : "last values"}</div>
      {rows.slice(0, 300).map((row, at) => (
        <div class="value" key={at}>
          <i style={{ background: row.colour }} />
          <span class="of">{row.label}</span>
          <b>{number(row.reading.smooth ?? row.reading.value)}</b>
        </div>
      ))}
      {rows.length > 300 && <div class="range">and {rows.length - 300} more</div>}
    </aside>
  );
}

export function FullSize() {
  const name = view.value.card;
  const dialog = useModal(name !== null);
  const [size, setSize] = useState({ width: innerWidth, height: innerHeight });
  useEffect(() => {
    const measure = () => setSize({ width: innerWidth, height: innerHeight });
    addEventListener("resize", measure);
    return () => removeEventListener("resize", measure);
  }, []);
  if (name === null) return null;
  const isMedia = mediaNames.value.has(name);
  const side = isMedia ? 0 : size.width > 800 ? 300 : 0;
  return (
    <dialog class="full" ref={dialog} aria-label={name} onClose={() => view.value.card !== null && change({ card: null })}>
      <div class="fullrow">
        {isMedia ? (
          <Media key={name} name={name} full width={size.width - 24} height={size.height - 24} />
        ) : (
          <CardView key={name} name={name} full width={size.width - side - 24} height={size.height - 24} />
        )}
        {side > 0 && <Legend name={name} />}
      </div>
    </dialog>
  );
}
