// Draws boxes and masks over an image: at any zoom, in the pixels of the screen.
import { dark } from "../parts/theme";
import { messageOf, number } from "../parts/words";
import { labelColour } from "./Labels";
import { address } from "./data";
import { type Grey, decodeGrey } from "./grey";
import type { Labelled } from "../state/address";
import { boxesOf, className, found, hides, masksOf, visible } from "./labels";
import type { Item } from "./types";

export interface Place {
  /** Pixels of the screen, in CSS, for a pixel of the image. */
  scale: number;
  x: number;
  y: number;
}

interface Mask {
  name: string;
  grey: Grey;
  /** By number, how the class is called. */
  names: Map<number, string>;
  painted: HTMLCanvasElement;
  look: string;
}

const LAYER = 0.5;

export async function masks(item: Item, card: string): Promise<Mask[]> {
  const made: Mask[] = [];
  for (const [name, one] of masksOf(item)) {
    if (one.state !== "ready" || one.file === null) {
      if (one.state !== "waiting") throw new Error(`the file of the mask ${name} is not there`);
      continue;
    }
    const answer = await fetch(address(item.run, one.file), { credentials: "same-origin" });
    if (!answer.ok) throw new Error(`the mask ${name} cannot be had: ${answer.status}`);
    let grey: Grey;
    try {
      grey = await decodeGrey(await answer.arrayBuffer());
    } catch (problem) {
      throw new Error(`the mask ${name} cannot be read: ${messageOf(problem)}`, { cause: problem });
    }
    const names = new Map<number, string>();
    for (const value of new Set(grey.values)) names.set(value, className(name, one.meta, value));
    // A class 0 that nobody named is what the mask does not mark.
    if (names.get(0) === `${name}: class 0`) names.delete(0);
    found(card, [...names.values()]);
    made.push({ name, grey, names, painted: document.createElement("canvas"), look: "" });
  }
  return made;
}

function paintMask(mask: Mask, chosen: Labelled): void {
  const look = JSON.stringify([[...mask.names.values()].filter((name) => hides(chosen, name)), dark.value]);
  if (look === mask.look) return;
  mask.look = look;
  const { width, height, values } = mask.grey;
  mask.painted.width = width;
  mask.painted.height = height;
  const context = mask.painted.getContext("2d");
  if (!context) return;
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const colours = new Map<number, number>();
  for (const [value, name] of mask.names) {
    if (hides(chosen, name)) continue;
    const hex = labelColour(name);
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)) as [number, number, number];
    colours.set(value, ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0);
  }
  for (let at = 0; at < values.length; at++) pixels[at] = colours.get(values[at] as number) ?? 0;
  context.putImageData(image, 0, 0);
}

/** Paints the canvas, which has the size of what is looked at. */
export function paint(canvas: HTMLCanvasElement, item: Item, layers: Mask[], chosen: Labelled, size: [number, number], place: Place): void {
  const ratio = Math.max(1, devicePixelRatio);
  const [width, height] = [Math.max(1, Math.round(size[0] * ratio)), Math.max(1, Math.round(size[1] * ratio))];
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  if (!context) return;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, size[0], size[1]);
  context.imageSmoothingEnabled = false;
  context.globalAlpha = LAYER;
  for (const mask of layers) {
    paintMask(mask, chosen);
    context.drawImage(mask.painted, place.x, place.y, mask.grey.width * place.scale, mask.grey.height * place.scale);
  }
  context.globalAlpha = 1;
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "top";
  for (const { box, label, score } of visible(boxesOf(item), chosen)) {
    const [x0, y0, x1, y1] = box;
    const [left, top] = [place.x + x0 * place.scale, place.y + y0 * place.scale];
    const colour = labelColour(label);
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.strokeRect(left, top, (x1 - x0) * place.scale, (y1 - y0) * place.scale);
    const words = `${label.slice(0, 60)}${score === null ? "" : ` ${number(score, 2)}`}`.trim();
    if (!words || (x1 - x0) * place.scale < 14) continue;
    const long = context.measureText(words).width + 6;
    const above = top >= 15 ? top - 15 : top;
    context.fillStyle = colour;
    context.fillRect(left - 1, above, long, 15);
    context.fillStyle = dark.value ? "#000000" : "#ffffff";
    context.fillText(words, left + 2, above + 2);
  }
}

export type { Mask };
