// Reads the JSON of a plotly figure: what one canvas can draw of it, and what of it is left out. It is data, nothing of it runs.

export type AxisKind = "linear" | "log" | "date" | "category";

export interface Axis {
  kind: AxisKind;
  title: string;
  categories: string[];
  reversed: boolean;
}

export interface Trace {
  kind: "line" | "bar" | "heat";
  name: string;
  colour: string | null;
  x: Float64Array;
  y: Float64Array;
  lines: boolean;
  markers: boolean;
  horizontal: boolean;
  /** Of a heat map: a row for each y. */
  z: Float64Array;
}

export interface Figure {
  title: string;
  x: Axis;
  y: Axis;
  traces: Trace[];
  bars: "group" | "stack" | "overlay";
  /** What is not drawn, in words. */
  left: string[];
}

type Data = Record<string, unknown>;
type Cell = number | string | null;

const of = (value: unknown): Data => (typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Data) : {});
const MOST = 2_000_000;

/** A title as text: plotly's is a text, or an object with one, and may have simple tags. */
export function words(value: unknown): string {
  const text = typeof value === "string" ? value : of(value)["text"];
  return typeof text === "string" ? text.replace(/<br\s*\/?>/gi, " ").replace(/<[^<>]*>/g, "").slice(0, 200) : "";
}

const TYPES = {
  f8: Float64Array, f4: Float32Array, i1: Int8Array, i2: Int16Array, i4: Int32Array, u1: Uint8Array, u1c: Uint8ClampedArray, u2: Uint16Array, u4: Uint32Array,
} as const;

/** The numbers of an array that plotly has packed; null: it is none. */
function unpacked(value: Data): { cells: number[]; shape: number[] } | null {
  const { dtype, bdata, shape } = value;
  if (typeof bdata !== "string" || typeof dtype !== "string" || !(dtype in TYPES)) return null;
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = Uint8Array.from(atob(bdata), (one) => one.charCodeAt(0));
  } catch {
    return null;
  }
  const Type = TYPES[dtype as keyof typeof TYPES];
  const cells = Array.from(new Type(bytes.buffer, 0, Math.floor(bytes.length / Type.BYTES_PER_ELEMENT)));
  const sizes = typeof shape === "string" ? shape.split(",").map(Number) : [cells.length];
  return { cells, shape: sizes };
}

const plain = (value: unknown): Cell => (typeof value === "number" || typeof value === "string" ? value : typeof value === "boolean" ? Number(value) : null);

function cells(value: unknown): Cell[] | null {
  if (Array.isArray(value)) return value.slice(0, MOST).map(plain);
  return unpacked(of(value))?.cells ?? null;
}

/** The rows of a grid, all of one length. */
function grid(value: unknown): number[][] | null {
  if (Array.isArray(value)) {
    const rows = value.map((row) => cells(row));
    if (rows.length === 0 || rows.some((row) => row === null || row.length !== rows[0]?.length)) return null;
    return rows.map((row) => (row as Cell[]).map((one) => (one === null ? NaN : Number(one))));
  }
  const found = unpacked(of(value));
  const [high, wide] = found?.shape ?? [];
  if (!found || !high || !wide || high * wide !== found.cells.length) return null;
  return Array.from({ length: high }, (_, at) => found.cells.slice(at * wide, (at + 1) * wide));
}

const DATE = /^\d{4}-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?)?$/;
const NUMBER = /^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$/;

function kindOf(values: Cell[], said: unknown): AxisKind {
  if (said === "log" || said === "date" || said === "category" || said === "linear") return said;
  const texts = values.filter((one): one is string => typeof one === "string");
  if (texts.every((one) => NUMBER.test(one))) return "linear";
  return texts.every((one) => DATE.test(one)) ? "date" : "category";
}

/** Milliseconds since 1970; a date without a zone is of UTC, as plotly has it. */
function moment(text: string): number {
  const whole = text.replace(" ", "T");
  return Date.parse(/T.*(Z|[+-]\d{2}:?\d{2})$/.test(whole) || !whole.includes("T") ? whole : `${whole}Z`);
}

function placed(values: Cell[], axis: Axis): Float64Array {
  return Float64Array.from(values, (one) => {
    if (one === null) return NaN;
    if (axis.kind === "category") {
      const text = String(one);
      const at = axis.categories.indexOf(text);
      return at >= 0 ? at : axis.categories.push(text) - 1;
    }
    if (axis.kind === "date" && typeof one === "string") return moment(one);
    return Number(one);
  });
}

const MODES = new Set(["scatter", "scattergl"]);

/** Why a trace is not drawn; "": it is. */
function refused(trace: Data): string {
  const type = typeof trace["type"] === "string" ? trace["type"] : "scatter";
  if (!MODES.has(type) && type !== "bar" && type !== "heatmap") return `a trace of the type “${type.slice(0, 40)}”`;
  for (const axis of ["xaxis", "yaxis"]) if (trace[axis] !== undefined && trace[axis] !== axis[0]) return "a trace on axes of its own";
  if (type === "heatmap" && grid(trace["z"]) === null) return "a heat map without a grid";
  if (type !== "heatmap" && cells(trace["y"]) === null && cells(trace["x"]) === null) return "a trace without points";
  return "";
}

const colourOf = (value: unknown): string | null => (typeof value === "string" ? value.slice(0, 60) : null);

export function read(json: unknown): Figure {
  const figure = of(json);
  const layout = of(figure["layout"]);
  const given = Array.isArray(figure["data"]) ? figure["data"].map(of).filter((trace) => trace["visible"] !== false && trace["visible"] !== "legendonly") : [];
  const left = new Map<string, number>();
  const leave = (what: string) => left.set(what, (left.get(what) ?? 0) + 1);
  const drawn = given.filter((trace) => {
    const why = refused(trace);
    if (why) leave(why);
    return !why;
  });
  const columns = drawn.map((trace) => {
    const heat = trace["type"] === "heatmap";
    const rows = heat ? (grid(trace["z"]) as number[][]) : [];
    const [x, y] = [cells(trace["x"]), cells(trace["y"])];
    const length = Math.max(x?.length ?? 0, y?.length ?? 0);
    const counted = (size: number): Cell[] => Array.from({ length: size }, (_, at) => at);
    return { x: x ?? counted(heat ? (rows[0]?.length ?? 0) : length), y: y ?? counted(heat ? rows.length : length), rows };
  });
  const axis = (name: "x" | "y"): Axis => {
    const said = of(layout[`${name}axis`]);
    const kind = kindOf(columns.flatMap((one) => one[name]), said["type"]);
    return { kind, title: words(said["title"]), categories: [], reversed: said["autorange"] === "reversed" };
  };
  const [x, y] = [axis("x"), axis("y")];
  const traces = drawn.map((trace, at): Trace => {
    const type = trace["type"];
    const mode = typeof trace["mode"] === "string" ? trace["mode"] : "lines";
    const [line, marker] = [of(trace["line"]), of(trace["marker"])];
    if (Array.isArray(marker["color"]) || "bdata" in of(marker["color"])) leave("colours by value");
    if (Array.isArray(marker["size"]) || "bdata" in of(marker["size"])) leave("sizes by value");
    if (trace["error_y"] !== undefined || trace["error_x"] !== undefined) leave("error bars");
    if (mode.includes("text")) leave("texts at points");
    if (typeof trace["fill"] === "string" && trace["fill"] !== "none") leave("filled areas");
    const column = columns[at] as (typeof columns)[number];
    return {
      kind: type === "heatmap" ? "heat" : type === "bar" ? "bar" : "line",
      name: words(trace["name"]) || `trace ${at}`,
      colour: colourOf(line["color"]) ?? colourOf(marker["color"]),
      x: placed(column.x, x),
      y: placed(column.y, y),
      lines: mode.includes("lines"),
      markers: mode.includes("markers"),
      horizontal: trace["orientation"] === "h",
      z: Float64Array.from(column.rows.flat()),
    };
  });
  for (const name of ["annotations", "shapes", "images"]) if (Array.isArray(layout[name]) && layout[name].length) leave(name);
  const mode = layout["barmode"];
  const bars = mode === "stack" || mode === "relative" ? "stack" : mode === "overlay" ? "overlay" : "group";
  return { title: words(layout["title"]), x, y, traces, bars, left: [...left].map(([what, count]) => (count > 1 ? `${what} (${count})` : what)) };
}

export interface Bar {
  /** Along the axis of the bars, and across. */
  from: number;
  to: number;
  base: number;
  top: number;
}

/** Where the bars of each trace stand: beside each other, on each other, or over each other. */
export function barsOf(figure: Figure): Map<Trace, Bar[]> {
  const all = figure.traces.filter((one) => one.kind === "bar");
  const places = (one: Trace) => (one.horizontal ? one.y : one.x);
  const heights = (one: Trace) => (one.horizontal ? one.x : one.y);
  const sorted = [...new Set(all.flatMap((one) => [...places(one)]))].filter(Number.isFinite).sort((a, b) => a - b);
  let gap = Infinity;
  for (let at = 1; at < sorted.length; at++) gap = Math.min(gap, (sorted[at] as number) - (sorted[at - 1] as number));
  const width = 0.8 * (Number.isFinite(gap) ? gap : 1);
  const part = figure.bars === "group" ? width / Math.max(1, all.length) : width;
  const sums = new Map<string, number>();
  const found = new Map<Trace, Bar[]>();
  all.forEach((one, index) => {
    const bars: Bar[] = [];
    places(one).forEach((place, at) => {
      const height = heights(one)[at] ?? NaN;
      if (!Number.isFinite(place) || !Number.isFinite(height)) return;
      const from = figure.bars === "group" ? place - width / 2 + index * part : place - width / 2;
      const key = `${place} ${height >= 0 ? "+" : "-"}`;
      const base = figure.bars === "stack" ? (sums.get(key) ?? 0) : 0;
      sums.set(key, base + height);
      bars.push({ from, to: from + part, base, top: base + height });
    });
    found.set(one, bars);
  });
  return found;
}
