// Each run as a point: any two columns, coloured by a third; a click opens the run.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { count, many } from "../parts/words";
import { dark } from "../parts/theme";
import { change, view } from "../state/view";
import { type AllRuns, MOST, useAllRuns } from "./all";
import { type Axis, axisOf, leftOut, marksOf } from "./axis";
import { useSize } from "../parts/size";
import { colour, useCanvas } from "./canvas";
import { Legend } from "./Legend";
import { ValuesOf } from "./ValuesOf";
import { type Colours, coloursOf } from "./colours";
import { Pick, plain } from "./Pick";

const [LEFT, BOTTOM, TOP, RIGHT, RADIUS, NEAR] = [76, 44, 14, 16, 4, 14];

interface Point {
  row: number;
  x: number;
  y: number;
}

/** What is shown and what is not, in words. */
export function told(found: AllRuns, shown: number, axes: Axis[]): string {
  const parts = [`${many(shown, "run")} of ${count(found.total ?? 0)}`];
  for (const axis of axes) {
    const out = leftOut(axis);
    if (out) parts.push(`${plain(axis.name)}: ${out}`);
  }
  if ((found.total ?? 0) > MOST) parts.push(`only the first ${count(MOST)} are read`);
  else if (found.loading && found.rows.length < (found.total ?? 0)) parts.push(`${count(found.rows.length)} are read so far`);
  return parts.join("; ");
}

function usePoints(x: Axis | null, y: Axis | null, width: number, height: number): Point[] {
  return useMemo(() => {
    const found: Point[] = [];
    if (!x || !y || width === 0) return found;
    const [wide, high] = [width - LEFT - RIGHT - 2 * RADIUS, height - TOP - BOTTOM - 2 * RADIUS];
    for (let row = 0; row < x.place.length; row++) {
      const [px, py] = [x.place[row] as number, y.place[row] as number];
      if (Number.isNaN(px) || Number.isNaN(py)) continue;
      found.push({ row, x: LEFT + RADIUS + px * wide, y: height - BOTTOM - RADIUS - py * high });
    }
    return found.sort((a, b) => a.x - b.x);
  }, [x, y, width, height]);
}

function draw(context: CanvasRenderingContext2D, points: Point[], colours: Colours, x: Axis, y: Axis, width: number, height: number): void {
  const [wide, high] = [width - LEFT - RIGHT - 2 * RADIUS, height - TOP - BOTTOM - 2 * RADIUS];
  context.font = "12px system-ui, sans-serif";
  context.lineWidth = 1;
  context.strokeStyle = colour("--grid");
  context.fillStyle = colour("--quiet");
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const mark of marksOf(y, Math.max(2, high / 50))) {
    const at = height - BOTTOM - RADIUS - mark.place * high;
    line(context, LEFT, at, width - RIGHT, at);
    context.fillText(cut(mark.text, 11), LEFT - 6, at);
  }
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const mark of marksOf(x, Math.max(2, wide / 90))) {
    const at = LEFT + RADIUS + mark.place * wide;
    line(context, at, TOP, at, height - BOTTOM);
    context.fillText(cut(mark.text, 14), at, height - BOTTOM + 6);
  }
  context.fillStyle = colour("--text");
  context.fillText(cut(`${plain(x.name)}${x.log ? " (log)" : ""}`, 60), LEFT + wide / 2, height - 18);
  context.save();
  context.translate(12, TOP + high / 2);
  context.rotate(-Math.PI / 2);
  context.textBaseline = "middle";
  context.fillText(cut(`${plain(y.name)}${y.log ? " (log)" : ""}`, 60), 0, 0);
  context.restore();
  context.globalAlpha = points.length > 500 ? 0.6 : 0.85;
  for (const point of points) {
    context.fillStyle = colours.of[point.row] ?? "";
    context.beginPath();
    context.arc(point.x, point.y, RADIUS, 0, 7);
    context.fill();
  }
  context.globalAlpha = 1;
}

function line(context: CanvasRenderingContext2D, x0: number, y0: number, x1: number, y1: number): void {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

export const cut = (text: string, most: number): string => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function nearest(points: Point[], x: number, y: number): number {
  let [best, distance] = [-1, NEAR * NEAR];
  points.forEach((point, at) => {
    const here = (point.x - x) ** 2 + (point.y - y) ** 2;
    if (here < distance) [best, distance] = [at, here];
  });
  return best;
}

export function Scatter() {
  const { dotX, dotY, dotColour, dotLogX, dotLogY } = view.value;
  const place = useRef<HTMLDivElement>(null);
  const size = useSize(place);
  const [at, setAt] = useState(-1);
  const wanted = [...new Set([dotX, dotY, dotColour].filter(Boolean))];
  const found = useAllRuns(wanted);
  const column = (name: string) => (found.columns.includes(name) ? found.rows.map((row) => row.values[found.columns.indexOf(name)]) : null);
  const values = useMemo(() => ({ x: column(dotX), y: column(dotY), colour: dotColour ? column(dotColour) : null }), [found.rows, found.columns, dotX, dotY, dotColour]);
  const x = useMemo(() => values.x && axisOf(dotX, values.x, dotLogX), [values, dotLogX]);
  const y = useMemo(() => values.y && axisOf(dotY, values.y, dotLogY), [values, dotLogY]);
  const colours = useMemo(() => coloursOf(found.rows, values.colour, dotColour), [values, dark.value]);
  const points = usePoints(x, y, size.width, size.height);
  const canvas = useCanvas(size, (context) => x && y && draw(context, points, colours, x, y, size.width, size.height), [points, colours, dark.value]);
  useEffect(() => setAt(-1), [points]);
  const here = points[at];
  const row = here && found.rows[here.row];
  const open = () => row && change({ open: row.run });
  const said = x && y ? told(found, points.length, dotX === dotY ? [x] : [x, y]) : "";
  return (
    <div class="many">
      <div class="toolbar" role="toolbar" aria-label="Scatter">
        <Pick label="x" value={dotX} onPick={(name) => change({ dotX: name })} empty="a column" />
        <label class="check">
          <input type="checkbox" checked={dotLogX} onChange={(event) => change({ dotLogX: event.currentTarget.checked })} /> log x
        </label>
        <Pick label="y" value={dotY} onPick={(name) => change({ dotY: name })} empty="a column" />
        <label class="check">
          <input type="checkbox" checked={dotLogY} onChange={(event) => change({ dotLogY: event.currentTarget.checked })} /> log y
        </label>
        <Pick label="colour" value={dotColour} onPick={(name) => change({ dotColour: name })} empty="run" />
      </div>
      <p class="told" role="status">
        {found.wrong ? <span class="warn">{found.wrong}</span> : said || (dotX && dotY ? "Loading…" : "Choose a column for x and one for y: of the configuration, the summary or a metric.")}
      </p>
      <div
        class="picture"
        ref={place}
        onPointerMove={(event) => {
          const box = event.currentTarget.getBoundingClientRect();
          setAt(nearest(points, event.clientX - box.left, event.clientY - box.top));
        }}
        onPointerLeave={() => setAt(-1)}
        onClick={open}
        style={{ cursor: row ? "pointer" : "" }}
      >
        <canvas
          ref={canvas}
          role="img"
          tabIndex={0}
          aria-label={`${plain(dotY)} over ${plain(dotX)}: ${said}. Arrow keys go from run to run, Enter opens it.`}
          onKeyDown={(event) => {
            const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
            if (step !== undefined && points.length) setAt((at + step + points.length) % points.length);
            if (event.key === "Enter") open();
          }}
        />
        {here && row && (
          <>
            <i class="ring" style={{ left: `${here.x}px`, top: `${here.y}px` }} />
            <div class="tip" role="status" style={{ top: `${Math.max(4, here.y - 70)}px`, ...(here.x > size.width / 2 ? { right: `${size.width - here.x + 14}px` } : { left: `${here.x + 14}px` }) }}>
              <ValuesOf row={row} names={wanted} columns={found.columns} />
            </div>
          </>
        )}
      </div>
      <Legend colours={colours} name={dotColour} />
    </div>
  );
}
