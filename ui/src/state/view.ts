// The one view that the page shows, in step with the address: back and forward work, a copied link shows the same.
import { computed, signal } from "@preact/signals";
import { type View, fromAddress, toAddress } from "./address";

export const view = signal<View>(fromAddress(location.hash));

/** The view of an address that says none: of a file, the one that it was made of. */
let home = "";

export function startWith(text: string): void {
  home = text;
  view.value = fromAddress(location.hash.length > 1 ? location.hash : home);
}

/** Steps of the zoom that `z` goes back. */
const zooms: Pick<View, "zoom" | "zoomY">[] = [];

/** What a step of the browser's history is: a choice. What is typed letter by letter replaces the last one. */
export function change(part: Partial<View>, typed = false): void {
  view.value = { ...view.value, ...part };
  const address = `#${toAddress(view.value)}`;
  if (address === location.hash || (address === "#" && location.hash === "")) return;
  if (typed) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
}

export function zoomTo(x: View["zoom"] | undefined, y?: { key: string; span: [number, number] }): void {
  const { zoom, zoomY } = view.value;
  zooms.push({ zoom, zoomY });
  change({ zoom: x === undefined ? zoom : x, zoomY: y ? { ...zoomY, [y.key]: y.span } : zoomY });
}

export function stepOut(): void {
  const before = zooms.pop();
  if (before) change(before);
  else resetZoom();
}

/** The window moves by a part of itself; a log axis moves by factors. */
export function pan(part: number): void {
  const { zoom, logX } = view.value;
  if (!zoom) return;
  const [low, high] = zoom;
  const by = (high - low) * part;
  const factor = (high / low) ** part;
  change({ zoom: logX && low > 0 ? [low * factor, high * factor] : [low + by, high + by] }, true);
}

export function resetZoom(): void {
  zooms.length = 0;
  if (view.value.zoom || Object.keys(view.value.zoomY).length) change({ zoom: null, zoomY: {} });
}

export const zoomed = computed(() => view.value.zoom !== null || Object.keys(view.value.zoomY).length > 0);

addEventListener("popstate", () => {
  view.value = fromAddress(location.hash.length > 1 ? location.hash : home);
});
