// A picture of a chart with its name and its legend, as a PNG file.
import type { Drawn } from "../chart/lines";
import type { Plot } from "../chart/plot";

const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function draw(name: string, plot: Plot, all: Drawn[]): HTMLCanvasElement {
  const source = plot.canvas;
  const ratio = devicePixelRatio || 1;
  const lines = all.slice(0, 40);
  const [head, row] = [30 * ratio, 18 * ratio];
  const perRow = Math.max(1, Math.floor(source.width / (220 * ratio)));
  const canvas = document.createElement("canvas");
  canvas.width = source.width;
  canvas.height = source.height + head + Math.ceil(lines.length / perRow) * row + 8 * ratio;
  const ctx = canvas.getContext("2d");
  if (!ctx) throw new Error("this browser gives no canvas");
  ctx.fillStyle = css("--ground");
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.fillStyle = css("--text");
  ctx.font = `600 ${14 * ratio}px system-ui, sans-serif`;
  ctx.textBaseline = "middle";
  ctx.fillText(name, 10 * ratio, head / 2, canvas.width - 20 * ratio);
  ctx.drawImage(source, 0, head);
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  lines.forEach((one, at) => {
    const x = 10 * ratio + (at % perRow) * (canvas.width / perRow);
    const y = head + source.height + (Math.floor(at / perRow) + 0.5) * row;
    ctx.fillStyle = one.look.colour;
    ctx.fillRect(x, y - ratio, 14 * ratio, 2 * ratio);
    ctx.fillStyle = css("--text");
    ctx.fillText(one.look.label, x + 20 * ratio, y, canvas.width / perRow - 30 * ratio);
  });
  return canvas;
}

export async function picture(name: string, plot: Plot, all: Drawn[]): Promise<void> {
  const blob = await new Promise<Blob | null>((done) => draw(name, plot, all).toBlob(done, "image/png"));
  if (!blob) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${name.replaceAll("/", "_")}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
