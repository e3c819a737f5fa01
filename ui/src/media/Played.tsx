// Sound, films and pages of HTML: the browser's own players, and a frame without an origin and without a network.
import { useEffect, useState } from "preact/hooks";
import { count, many, seconds } from "../parts/words";
import { address } from "./data";
import { described } from "./Picture";
import { Broken, Save } from "./parts";
import type { Item } from "./types";

const numberIn = (item: Item, name: string) => (typeof item.meta[name] === "number" ? item.meta[name] : null);

function useBroken(file: string | null) {
  const [broken, setBroken] = useState(false);
  useEffect(() => setBroken(false), [file]);
  return [broken, () => setBroken(true)] as const;
}

export function Sound({ item }: { item: Item }) {
  const [broken, breaks] = useBroken(item.file);
  const [rate, channels, frames] = ["rate", "channels", "frames"].map((name) => numberIn(item, name));
  if (broken) return <Broken>Its file is no sound that a browser plays, or is damaged. <Save item={item} what="Save it" /></Broken>;
  return (
    <div class="sound">
      <audio controls preload="metadata" src={address(item.run, item.file ?? "")} aria-label={described(item)} onError={breaks} />
      <small>
        {[rate ? `${count(rate)} Hz` : "", channels ? many(channels, "channel") : "", rate && frames ? seconds(frames / rate) : ""].filter(Boolean).join(", ")}{" "}
        <Save item={item} what="Save" />
      </small>
    </div>
  );
}

export function Film({ item }: { item: Item }) {
  const [broken, breaks] = useBroken(item.file);
  if (broken) return <Broken>Its file is no film that a browser plays, or is damaged. <Save item={item} what="Save it" /></Broken>;
  return <video class="film" controls loop muted playsInline preload="metadata" src={address(item.run, item.file ?? "")} aria-label={described(item)} onError={breaks} />;
}

/** By its address: the answer forbids it an origin, cookies and every network, and the page lets no other frame in. */
export function Page({ item }: { item: Item }) {
  return <iframe class="page" src={address(item.run, item.file ?? "")} sandbox="allow-scripts" referrerpolicy="no-referrer" title={described(item)} />;
}
