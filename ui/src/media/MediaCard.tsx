// A card of media: one slider of steps for all runs, and a tile for each value.
import { useEffect, useMemo, useState } from "preact/hooks";
import { Coded } from "../parts/Coded";
import { count, many } from "../parts/words";
import { FullSizeButton } from "../cards/FullSizeButton";
import { colourOf, nameOf } from "../cards/look";
import { shown } from "../state/table";
import { change, view } from "../state/view";
import { MOST_RUNS, mount, retry, stateOf, unmount } from "./data";
import { Labels } from "./Labels";
import type { MediaProps } from "./Lazy";
import { Tile } from "./Tile";
import { later } from "./later";
import type { Item, MediaCard as Card } from "./types";
import { ViewedImage } from "./Zoom";
import "./media.css";

const Heat = later(async () => (await import("./Heat")).Heat);

/** The place of the last step at or before; the last of all for null; -1 before the first. */
export function placeOf(steps: number[], step: number | null): number {
  if (step === null) return steps.length - 1;
  let [low, high] = [0, steps.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((steps[middle] as number) <= step) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

export function Slider({ steps, leftOut }: { steps: number[]; leftOut: number }) {
  const place = placeOf(steps, view.value.mediaStep);
  const last = view.value.mediaStep === null;
  const words = place < 0 ? `before step ${count(steps[0] ?? 0)}` : `step ${count(steps[place] ?? 0)}`;
  // The end of the slider is the newest step, and goes on with it.
  const to = (at: number) => change({ mediaStep: at >= steps.length - 1 ? null : (steps[at] ?? null) }, true);
  return (
    <div class="stepper">
      <input
        type="range"
        min={0}
        max={Math.max(0, steps.length - 1)}
        value={Math.max(0, place)}
        disabled={steps.length < 2}
        aria-label="Step, of all media"
        aria-valuetext={words}
        onInput={(event) => to(Number(event.currentTarget.value))}
      />
      <output>
        {words}
        {last ? ", the last" : ""}
      </output>
      {leftOut > 0 && <small>{count(leftOut)} steps between are not on the slider</small>}
    </div>
  );
}

/** Which tiles are of one step, and what the others say. */
function said(card: Card, step: number | null, runs: number): string {
  const parts = [many(card.items.length, "value")];
  const off = step === null ? 0 : card.items.filter((one) => one.step !== step).length;
  if (off) parts.push(`${count(off)} of an earlier step`);
  if (card.none_yet.length) parts.push(`${many(card.none_yet.length, "run")} with nothing so early`);
  if (card.left_out) parts.push(`${count(card.left_out)} more not shown`);
  if (runs > MOST_RUNS) parts.push(`the first ${MOST_RUNS} of ${count(runs)} runs`);
  return parts.join(", ");
}

const tileKey = (item: Item, at: number) => `${item.run} ${item.key} ${item.rank} ${at}`;

export function MediaCard({ name, width, height, full = false }: MediaProps) {
  const id = `${full ? "full" : "card"}:${name}`;
  const [state] = useState(() => stateOf(id));
  const [big, setBig] = useState<Item | null>(null);
  useEffect(() => {
    mount(id, name);
    return () => unmount(id);
  }, [id, name]);
  const { card, error, remedy, loading } = state.value;
  const steps = card?.steps ?? [];
  const place = placeOf(steps, view.value.mediaStep);
  const step = place < 0 ? null : (steps[place] ?? null);
  // Members of a list, ranks and runs are told apart where there are several.
  // The enlarged image is of the run that was clicked, at the step of the slider.
  const enlarged = big && (card?.items.find((one) => one.run === big.run && one.key === big.key && one.rank === big.rank) ?? big);
  const several = useMemo(() => ({ keys: new Set(card?.items.map((one) => one.key)).size > 1, ranks: new Set(card?.items.map((one) => one.rank)).size > 1 }), [card]);
  const heat = card?.items.some((one) => one.kind === "histogram") ?? false;
  const nothing = card && steps.length === 0 && card.problems.length === 0;
  return (
    <article class={`card media${loading ? " loading" : ""}`} aria-label={name} data-key={name} style={{ width: `${width}px`, height: `${height}px` }}>
      <header>
        <h3 title={name}>{name}</h3>
        {card && <span class="stands">{said(card, step, shown.value.length)}</span>}
        <span class="tools">
          <FullSizeButton name={name} full={full} />
        </span>
      </header>
      {error !== null ? (
        <div class="trouble" role="alert">
          <b>{error}</b>
          <p><Coded text={remedy} /></p>
          <button onClick={() => retry(id)}>Ask again</button>
        </div>
      ) : nothing ? (
        <div class="trouble quiet">No media here.</div>
      ) : (
        <>
          <div class="controls">
            <Slider steps={steps} leftOut={card?.steps_left_out ?? 0} />
            {card && <Labels name={name} items={card.items} />}
          </div>
          {heat && card && <Heat name={name} index={card} step={step} width={width} height={height} />}
          <div class="tiles" hidden={heat} tabIndex={0} role="group" aria-label={`Values of ${name}`}>
            {!heat && card?.items.map((item, at) => (
              <Tile key={tileKey(item, at)} item={item} card={name} step={step} runName={nameOf(item.run)} colour={colourOf(item.run)} several={several} full={full} onOpen={() => setBig(item)} />
            ))}
            {card?.none_yet.map((one) => (
              <figure class="tile none" key={`none ${one.run}`}>
                <figcaption>
                  <i style={{ background: colourOf(one.run) }} />
                  <span>{nameOf(one.run)}</span>
                </figcaption>
                <p class="quiet">Nothing so early; its first is at step {count(one.first)}.</p>
              </figure>
            ))}
          </div>
        </>
      )}
      <footer>
        {card?.problems.length ? (
          <span class="warn" title={card.problems.map((one) => `${one.run}: ${one.error}`).join("\n")}>
            ⚠ {many(card.problems.length, "run")} cannot be read: {card.problems[0]?.error}
          </span>
        ) : null}
      </footer>
      {enlarged && (
        <ViewedImage item={enlarged} card={name} title={`${nameOf(enlarged.run)} · ${enlarged.key} · step ${count(enlarged.step)}`} onClose={() => setBig(null)}>
          <Slider steps={steps} leftOut={card?.steps_left_out ?? 0} />
        </ViewedImage>
      )}
    </article>
  );
}
