// The cards in sections, only those on the screen in the document.
import { useMemo, useRef } from "preact/hooks";
import { Media } from "../media/Lazy";
import { type MediaKey, inRows } from "../media/keys";
import { Coded } from "../parts/Coded";
import { useSize } from "../parts/size";
import { useRows } from "../parts/virtual";
import { many } from "../parts/words";
import { charted, keys, loading, problem } from "../state/keys";
import { all, shown, total } from "../state/table";
import { change, view } from "../state/view";
import { CardView } from "./CardView";

const [WIDEST, GAP, HEIGHT, MEDIA, SECTION] = [420, 10, 270, 340, 38];

type Line = { kind: "section"; name: string; cards: number; open: boolean } | { kind: "cards"; keys: string[] } | { kind: "media"; cards: { key: MediaKey; span: number }[] } | { kind: "problem"; run: string; error: string; remedy: string };

function toggleSection(name: string): void {
  const { closed } = view.value;
  change({ closed: closed.includes(name) ? closed.filter((one) => one !== name) : [...closed, name] });
}

export function Cards() {
  const scroller = useRef<HTMLDivElement>(null);
  const { width } = useSize(scroller);
  const sections = charted.value;
  const { closed } = view.value;
  const perRow = Math.max(1, Math.round((width - GAP) / (WIDEST + GAP)));
  const cardWidth = Math.floor((width - GAP * (perRow + 1)) / perRow);
  const problems = keys.value.problems;
  const lines = useMemo(() => {
    const made: Line[] = (problems ?? []).map((one) => ({ kind: "problem", run: one.run, error: one.error, remedy: one.remedy ?? "" }));
    for (const section of sections) {
      const open = !closed.includes(section.name);
      made.push({ kind: "section", name: section.name, cards: section.keys.length + section.media.length, open });
      for (let at = 0; open && at < section.keys.length; at += perRow) made.push({ kind: "cards", keys: section.keys.slice(at, at + perRow) });
      if (open) for (const cards of inRows(section.media, perRow)) made.push({ kind: "media", cards });
    }
    return made;
  }, [sections, closed, perRow, problems]);
  const SIZES = { cards: HEIGHT + GAP, media: MEDIA + GAP, problem: 84, section: SECTION };
  const size = (index: number) => SIZES[lines[index]?.kind ?? "section"];
  const sizes = useMemo(() => lines.map((one) => one.kind[0]).join(""), [lines]);
  const rows = useRows(scroller, lines.length, size, sizes, 1);
  return (
    <div class="cards" ref={scroller} tabIndex={0} role="region" aria-label="Cards">
      {problem.value && (
        <div class="trouble" role="alert">
          <b>{problem.value.message}</b>
          <p><Coded text={problem.value.remedy} /></p>
        </div>
      )}
      {lines.length === 0 && !problem.value && <Nothing />}
      <div style={{ height: `${rows.height}px`, position: "relative" }}>
        {width > 0 &&
          rows.items.map((item) => {
            const line = lines[item.index];
            if (!line) return null;
            const place = { position: "absolute" as const, top: `${item.start}px`, left: 0, right: 0, height: `${item.size}px` };
            if (line.kind === "section")
              return (
                <div class="section" style={place} key={`s:${line.name}`}>
                  <h2>
                  <button aria-expanded={line.open} onClick={() => toggleSection(line.name)}>
                    <span class="turn">{line.open ? "▾" : "▸"}</span> {line.name || "charts"} <small>{line.cards}</small>
                  </button>
                  </h2>
                </div>
              );
            if (line.kind === "problem")
              return (
                <div style={place} key={`p:${line.run}`}>
                  <article class="card damaged">
                    <b>⚠ {line.run}</b> {line.error}
                    <p><Coded text={line.remedy} /></p>
                  </article>
                </div>
              );
            if (line.kind === "media")
              return (
                <div class="cardrow" style={place} key={`m:${line.cards[0]?.key.name}`}>
                  {line.cards.map(({ key, span }) => (
                    <Media key={key.name} name={key.name} width={cardWidth * span + GAP * (span - 1)} height={MEDIA} />
                  ))}
                </div>
              );
            return (
              <div class="cardrow" style={place} key={`c:${line.keys[0]}`}>
                {line.keys.map((name) => (
                  <CardView key={name} name={name} width={cardWidth} height={HEIGHT} />
                ))}
              </div>
            );
          })}
      </div>
    </div>
  );
}

function Nothing() {
  if (total.value === null || (loading.value && shown.value.length > 0)) return <p class="nothing">Loading…</p>;
  if (all.value === 0) return null; // The page of an empty directory stands instead.
  if (shown.value.length === 0) return <p class="nothing">No run is drawn. Choose runs with the circle in front of each, or “first {10}” above the table.</p>;
  if (view.value.filter) return <p class="nothing">No key matches “{view.value.filter}”. {many(keys.value.keys.length, "key")} in all.</p>;
  return <p class="nothing">These runs have logged nothing that can be shown yet.</p>;
}
