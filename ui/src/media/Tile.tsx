// One value: whose it is and of which step, then the value as its kind is shown, or what is wrong with it.
import { useEffect, useRef, useState } from "preact/hooks";
import { count } from "../parts/words";
import { Picture } from "./Picture";
import { Film, Page, Sound } from "./Played";
import { Broken, Save } from "./parts";
import { Words } from "./Words";
import { later } from "./later";
import type { Item } from "./types";

const Plotly = later<{ item: Item }>(async () => (await import("./Plotly")).Plotly);
const Solid3D = later<{ item: Item }>(async () => (await import("./Solid3D")).Solid3D);
const TableView = later<{ item: Item }>(async () => (await import("./TableView")).TableView);

/** Whether the node has come near the screen: what never does is never loaded. */
function useSeen() {
  const node = useRef<HTMLElement>(null);
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    if (!node.current || seen) return;
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some((one) => one.isIntersecting)) setSeen(true);
      },
      { rootMargin: "120px" },
    );
    observer.observe(node.current);
    return () => observer.disconnect();
  }, [seen]);
  return [node, seen] as const;
}

const STATES: Record<string, (item: Item) => string> = {
  waiting: () => "It is being encoded.",
  kept: () => "It could not be encoded and is kept as it was captured; collector.log in the run says why. `steno sync` tries again.",
  lost: (item) => `It was lost: ${String(item.meta["lost"] ?? "its journal is gone")}.`,
  gone: () => "Its file is not in this copy of the run.",
  damaged: (item) => `It cannot be read: ${item.error ?? "the reference is damaged"}.`,
};

/** An SVG only as an image: there its scripts do not run, and it loads nothing. */
const PICTURES = new Set(["png", "jpg", "gif", "webp", "bmp", "svg"]);

function Content({ item, card, onOpen }: { item: Item; card: string; onOpen: () => void }) {
  const ended = STATES[item.state];
  if (ended) return <Broken>{ended(item)}</Broken>;
  // A run that somebody changed may name a value and no file of it.
  const said = item.kind === "pr_curve" || (typeof item.meta["text"] === "string" && (item.kind === "text" || item.kind === "plain"));
  if (item.file === null && !said) return <Broken>It cannot be read: it has no file.</Broken>;
  const ext = item.file?.split(".").at(-1) ?? "";
  switch (item.kind) {
    case "image":
    case "mask":
    case "figure":
    case "video":
      if (PICTURES.has(ext)) return <Picture item={item} card={card} onOpen={onOpen} />;
      if (item.kind === "figure" && ext === "json") return <Plotly item={item} />;
      if (item.kind === "video") return <Film item={item} />;
      break;
    case "pr_curve":
      return <Plotly item={item} />;
    case "mesh":
      return <Solid3D item={item} />;
    case "table":
      return <TableView item={item} />;
    case "audio":
      return <Sound item={item} />;
    case "html":
      return <Page item={item} />;
    case "plain":
    case "text":
      return <Words item={item} />;
  }
  return (
    <p class="broken quiet">
      The page does not draw this {item.kind}. <Save item={item} what="Save it" />
    </p>
  );
}

interface Props {
  item: Item;
  card: string;
  /** The step of the slider. */
  step: number | null;
  runName: string;
  colour: string;
  several: { keys: boolean; ranks: boolean };
  full: boolean;
  onOpen: () => void;
}

const WIDE = new Set(["text", "plain", "html", "table", "histogram", "mesh", "pr_curve"]);

/** A figure that is drawn here needs room; one that is a picture does not. */
const isWide = (item: Item) => WIDE.has(item.kind) || (item.kind === "figure" && item.file?.endsWith(".json") === true);

export function Tile({ item, card, step, runName, colour, several, full, onOpen }: Props) {
  const [node, seen] = useSeen();
  const off = step !== null && item.step !== step;
  return (
    <figure ref={node} class={`tile ${isWide(item) ? "wide" : ""} ${full ? "large" : ""}`} data-step={item.step} data-run={item.run}>
      <figcaption>
        <i style={{ background: colour }} />
        <span title={item.run}>
          {runName}
          {several.keys && ` · ${item.key.split("/").at(-1) ?? ""}`}
          {several.ranks && ` · rank ${item.rank}`}
        </span>
        {off && (
          <b class="warn" title={`This run has nothing at step ${String(step)}; this is its last before it.`}>
            step {count(item.step)}
          </b>
        )}
      </figcaption>
      <div class="content">{seen && <Content item={item} card={card} onOpen={onOpen} />}</div>
      {item.caption && (
        <p class="caption" title={item.caption}>
          {item.caption}
        </p>
      )}
    </figure>
  );
}
