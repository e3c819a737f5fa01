// A plotly figure in a tile: what one canvas can draw is drawn, for the rest it says how to see it with plotly.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { nth } from "../chart/palette";
import { useSize } from "../parts/size";
import { dark } from "../parts/theme";
import { messageOf } from "../parts/words";
import { server } from "../state/table";
import { described } from "./Picture";
import { load } from "./file";
import { Broken, Save } from "./parts";
import { type Figure, read } from "./plotly";
import { type Drawing, near, plot } from "./plotted";
import type { Item } from "./types";

const MOST_BYTES = 16 << 20;

/** A precision-recall curve as a figure: its rows are counts, then precision and recall. */
function curve(found: unknown): unknown {
  const rows = typeof found === "object" && found !== null && "curve" in found && Array.isArray(found.curve) ? (found.curve as unknown[]) : [];
  const axis = (title: string) => ({ title });
  return { data: [{ type: "scatter", x: rows[5], y: rows[4], mode: "lines+markers", name: "precision" }], layout: { xaxis: axis("recall"), yaxis: axis("precision") } };
}

/** The lines of Python that write the figure as a page of its own, with the plotly that is installed there. */
function Export({ item }: { item: Item }) {
  const text = (value: string) => JSON.stringify(value);
  return (
    <details class="export">
      <summary>the whole figure, with plotly</summary>
      <pre>{`import plotly.io, steno
run = steno.open(${text(item.run)}, dir=${text(server.value?.dir ?? "runs")})
item = next(one for one in run.media(${text(item.key)}) if one.step == ${item.step})
plotly.io.from_json(item.path.read_text()).write_html("figure.html")`}</pre>
      <Save item={item} what="Save its JSON" />
    </details>
  );
}

export function Plotly({ item }: { item: Item }) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawing = useRef<Drawing | null>(null);
  const [figure, setFigure] = useState<Figure | null>(null);
  const [wrong, setWrong] = useState("");
  const [hidden, setHidden] = useState<ReadonlySet<number>>(new Set());
  const [words, setWords] = useState("");
  const tooLarge = (item.bytes ?? 0) > MOST_BYTES;
  useEffect(() => {
    if (tooLarge) return;
    if (item.file === null) {
      setFigure(read(curve(item.meta)));
      return;
    }
    setHidden(new Set());
    return load(
      item,
      (answer) => answer.text(),
      (text) => {
        const found: unknown = JSON.parse(text);
        setFigure(read(item.kind === "pr_curve" ? curve(found) : found));
        setWrong("");
      },
      (problem) => setWrong(messageOf(problem)),
    );
  }, [item.run, item.file]);
  const any = figure !== null && figure.traces.length > 0;
  const { width, height } = useSize(box, any);
  useLayoutEffect(() => {
    if (canvas.current && figure && width > 60 && height > 50) drawing.current = plot(canvas.current, [width, height], figure, hidden, dark.value);
  }, [figure, hidden, width, height, dark.value]);
  if (tooLarge) return <div class="plotly"><Broken>Its JSON has more than 16 MiB.</Broken><Export item={item} /></div>;
  if (wrong) return <Broken>It cannot be read: {wrong}. <Save item={item} what="Save it" /></Broken>;
  if (!figure) return null;
  const hover = (event: MouseEvent) => {
    const edge = box.current?.getBoundingClientRect();
    if (edge && drawing.current) setWords(near(figure, hidden, drawing.current, event.clientX - edge.left, event.clientY - edge.top));
  };
  const toggle = (at: number) => {
    const next = new Set(hidden);
    if (!next.delete(at)) next.add(at);
    setHidden(next);
  };
  return (
    <div class="plotly">
      {figure.title && <h4 title={figure.title}>{figure.title}</h4>}
      {any ? (
        <div class="plot" ref={box} onMouseMove={hover} onMouseLeave={() => setWords("")}>
          <canvas ref={canvas} role="img" aria-label={`${described(item)}: ${figure.title || "figure"}, ${figure.traces.map((one) => one.name).join(", ")}`} />
        </div>
      ) : (
        <Broken>The page draws nothing of this figure.</Broken>
      )}
      {words && <p class="near">{words}</p>}
      {figure.traces.length > 1 && (
        <div class="labels" role="group" aria-label="Traces">
          {figure.traces.slice(0, 100).map((one, at) => (
            <label key={at}>
              <input type="checkbox" checked={!hidden.has(at)} onChange={() => toggle(at)} />
              <i style={{ background: one.colour && CSS.supports("color", one.colour) ? one.colour : nth(at, dark.value) }} />
              <span>{one.name}</span>
            </label>
          ))}
        </div>
      )}
      {figure.left.length > 0 && <p class="warn">Not drawn: {figure.left.join(", ")}.</p>}
      {item.kind === "figure" && <Export item={item} />}
    </div>
  );
}
