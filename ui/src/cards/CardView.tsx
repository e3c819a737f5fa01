// One card: its name, what it stands for, its chart or what is wrong.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Drawn } from "../chart/lines";
import type { Plot } from "../chart/plot";
import { Coded } from "../parts/Coded";
import { many } from "../parts/words";
import { shown } from "../state/table";
import { view } from "../state/view";
import { csvAddress } from "../wire/client";
import { inFile } from "../wire/file";
import type { Card } from "../wire/types";
import { Chart, standsFor } from "./Chart";
import { FullSizeButton } from "./FullSizeButton";
import { lookOf } from "./look";
import { mount, retry, stateOf, unmount } from "./data";
import { picture } from "./export";

/** A whole number of pixels that does not change with each pixel of the window. */
const binsFor = (width: number) => Math.min(8192, Math.max(100, Math.ceil(width / 50) * 50));

interface Props {
  name: string;
  width: number;
  height: number;
  full?: boolean;
}

export const HEAD = 26;
/** What is said below the axis begins in its margin. */
export const FOOT = 12;

/** Which colour is which group; the hover and the full size name all of them. */
function Groups({ card }: { card: Card }) {
  const groups = card.series.map((one, at) => ({ one, look: lookOf(one, at) })).filter((each) => each.one.kind === "group");
  if (groups.length < 2) return null;
  const text = groups.map((each) => each.look.label).join(" · ");
  // The toolbar says by what the runs are grouped: with one name the values alone are as clear.
  const [name, more] = view.value.group ?? [];
  const short = (label: string) => (name !== undefined && more === undefined && label.startsWith(`${name} = `) ? label.slice(name.length + 3) : label);
  return (
    <span class="groups" title={text}>
      {groups.slice(0, 4).map((each) => (
        <span key={each.look.label}>
          <i style={{ background: each.look.colour }} /> {short(each.look.label)}
        </span>
      ))}
      {groups.length > 4 && <span>and {groups.length - 4} more</span>}
    </span>
  );
}

function Unread({ problems }: { problems: NonNullable<Card["problems"]> }) {
  return (
    <>
      ⚠ {many(problems.length, "run")} cannot be read: {problems[0]?.error}
    </>
  );
}

export function CardView({ name, width, height, full = false }: Props) {
  const id = full ? `full:${name}` : name;
  const [state] = useState(() => stateOf(id));
  const plot = useRef<{ plot: Plot; all: Drawn[] } | null>(null);
  const bins = binsFor(full ? width * Math.max(1, devicePixelRatio) : width);
  useEffect(() => {
    mount(id, name, bins);
    return () => unmount(id);
  }, [id, name, bins]);
  const { card, error, remedy, loading } = state.value;
  const x = view.value.x;
  const nothing = card?.series.length === 0;
  const problems = card?.problems ?? [];
  return (
    <article class={`card${loading ? " loading" : ""}`} aria-label={name} data-key={name} style={{ width: `${width}px` }}>
      <header>
        <h3 title={name}>{name}</h3>
        {card && <span class="stands" title={standsFor(card)}>{standsFor(card)}</span>}
        <span class="tools">
          {!inFile() && (
          <a
            class="tool"
            href={csvAddress(shown.value, [name], typeof x === "string" ? x : `key:${x.key}`, view.value.zoom)}
            download={`${name.replaceAll("/", "_")}.csv`}
            title="Exact values as CSV"
          >
            CSV
          </a>
          )}
          <button
            class="tool"
            title="Picture of this chart"
            onClick={() => {
              if (plot.current) void picture(name, plot.current.plot, plot.current.all);
            }}
          >
            PNG
          </button>
          <FullSizeButton name={name} full={full} />
        </span>
      </header>
      {error !== null ? (
        <div class="trouble" role="alert" style={{ height: `${height - HEAD - FOOT}px` }}>
          <b>{error}</b>
          <p><Coded text={remedy} /></p>
          <button onClick={() => retry(id)}>Ask again</button>
        </div>
      ) : card && !nothing ? (
        <Chart
          id={id}
          name={name}
          card={card}
          width={width - 2}
          height={height - HEAD - FOOT}
          onPlot={(made, all) => {
            plot.current = { plot: made, all };
          }}
        />
      ) : (
        <div class="trouble quiet" style={{ height: `${height - HEAD - FOOT}px` }}>
          {!nothing ? "" : problems.length ? <p class="warn"><Unread problems={problems} /></p> : "No points here."}
        </div>
      )}
      <footer>
        {card && problems.length === 0 && view.value.group !== null && <Groups card={card} />}
        {problems.length > 0 && !nothing && (
          <span class="warn" title={problems.map((one) => `${one.run}: ${one.error}`).join("\n")}>
            <Unread problems={problems} />
          </span>
        )}
      </footer>
    </article>
  );
}
