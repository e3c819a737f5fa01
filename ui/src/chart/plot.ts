// One chart: uPlot's axes, zoom and cursor around lines that are drawn by `paint`.
import uPlot from "uplot";
import { number, times } from "../parts/words";
import type { Drawn } from "./lines";
import { type Frame, paint } from "./paint";
import { digits, ticks } from "./ticks";

export interface PlotData {
  drawn: Drawn[];
  x: [number, number];
  y: [number, number];
  logX: boolean;
  logY: boolean;
  /** Seconds since 1970. */
  time: boolean;
  /** Steps: nothing stands between them. */
  whole: boolean;
}

export interface PlotEvents {
  /** A drag ended: the ranges that were chosen, null where the axis stays. */
  zoom(x: [number, number] | null, y: [number, number] | null): void;
  reset(): void;
  /** The cursor is at x and at a pixel of the chart; null: it has left. */
  cursor(at: { x: number; left: number; top: number } | null): void;
}

/** Marks of our own on a linear axis: uPlot's do not come to an end for numbers beyond 2^53. */
function own(log: boolean, space: number, whole: boolean): Partial<uPlot.Axis> {
  if (log) return { values: logTicks };
  return {
    // Any increment will do, as long as uPlot takes it: the marks are made here.
    incrs: [1e300],
    splits: (plot, at, low, high) => ticks(low, high, (at === 0 ? plot.bbox.width : plot.bbox.height) / uPlot.pxRatio / space, whole),
    values: labels,
  };
}

function style(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function labels(_: uPlot, values: (number | null)[]): string[] {
  const enough = digits(values);
  return values.map((value) => (value === null ? "" : number(value, enough)));
}

/** On a log axis powers of ten have their number, and 2 and 5 where there are few of them. */
function logTicks(_: uPlot, values: (number | null)[]): string[] {
  const whole = (value: number) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9;
  const few = values.filter((value) => value !== null && whole(value)).length < 3;
  return values.map((value) => (value !== null && (whole(value) || (few && (whole(value / 2) || whole(value / 5)))) ? number(value, 6) : ""));
}

export class Plot {
  private readonly plot: uPlot;
  private data: PlotData;
  private width = 0;
  private height = 0;

  constructor(host: HTMLElement, width: number, height: number, data: PlotData, events: PlotEvents) {
    this.data = data;
    this.width = width;
    this.height = height;
    const axis = (side: number, size: number): uPlot.Axis => ({
      side,
      size,
      stroke: () => style("--quiet"),
      grid: { stroke: () => style("--grid"), width: 1 },
      ticks: { show: false },
      font: "11px system-ui, sans-serif",
      gap: 4,
    });
    const options: uPlot.Options = {
      width,
      height,
      padding: [8, 20, 0, 0],
      legend: { show: false },
      scales: {
        x: { time: data.time, distr: data.logX ? 3 : 1, range: () => this.data.x },
        y: { distr: data.logY ? 3 : 1, range: () => this.data.y },
      },
      axes: [
        { ...axis(2, 22), space: data.time ? 84 : 64, ...(data.time ? { values: (_: uPlot, at: (number | null)[]) => times(at) } : own(data.logX, 64, data.whole)) },
        { ...axis(3, 58), space: 32, ...own(data.logY, 22, false) },
      ],
      series: [{}, { paths: () => null, points: { show: false } }],
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: true, y: true, uni: 24, setScale: false },
        bind: {
          dblclick: () => () => {
            events.reset();
            return null;
          },
        },
      },
      hooks: {
        draw: [(plot) => paint(plot.ctx, this.data.drawn, this.frame(plot))],
        setSelect: [
          (plot) => {
            const { left, top, width: w, height: h } = plot.select;
            if (w < 3 && h < 3) return;
            const wide = w > 0 && w < plot.over.clientWidth;
            const tall = h > 0 && h < plot.over.clientHeight;
            events.zoom(
              wide ? [plot.posToVal(left, "x"), plot.posToVal(left + w, "x")] : null,
              tall ? [plot.posToVal(top + h, "y"), plot.posToVal(top, "y")] : null,
            );
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
        setCursor: [
          (plot) => {
            const { left, top } = plot.cursor;
            if (left === undefined || left < 0 || top === undefined || top < 0) events.cursor(null);
            else events.cursor({ x: plot.posToVal(left, "x"), left, top });
          },
        ],
      },
    };
    this.plot = new uPlot(options, [data.x, data.y], host);
  }

  private frame(plot: uPlot): Frame {
    const { left, top, width, height } = plot.bbox;
    const { x, y, logX, logY } = this.data;
    return { left, top, width, height, x, y, logX, logY, ratio: uPlot.pxRatio };
  }

  /** Whether new data can be drawn by this chart: the kind of its axes is fixed. */
  fits(data: PlotData): boolean {
    return data.logX === this.data.logX && data.logY === this.data.logY && data.time === this.data.time && data.whole === this.data.whole;
  }

  set(data: PlotData, width: number, height: number): void {
    this.data = data;
    if (width !== this.width || height !== this.height) {
      this.plot.setSize({ width, height });
      [this.width, this.height] = [width, height];
    }
    this.plot.setData([data.x, data.y], true);
  }

  redraw(): void {
    this.plot.redraw(false, true);
  }

  /** Shows the crosshair at x, without telling of it; null takes it away. */
  point(x: number | null): void {
    const [low, high] = this.data.x;
    if (x === null || x < low || x > high) this.plot.setCursor({ left: -10, top: -10 }, false);
    else this.plot.setCursor({ left: this.plot.valToPos(x, "x"), top: 0 }, false);
  }

  get canvas(): HTMLCanvasElement {
    return this.plot.ctx.canvas;
  }

  get offset(): { left: number; top: number } {
    return { left: this.plot.over.offsetLeft, top: this.plot.over.offsetTop };
  }

  destroy(): void {
    this.plot.destroy();
  }
}
