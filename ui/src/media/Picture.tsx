// An image in a tile: fitted, its boxes and masks over it, its pixels as they are where it is enlarged.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useSize } from "../parts/size";
import { dark } from "../parts/theme";
import { messageOf } from "../parts/words";
import { address } from "./data";
import { chosenOf } from "./chosen";
import { boxesOf, masksOf } from "./labels";
import { type Mask, masks, paint } from "./overlay";
import { Broken } from "./parts";
import type { Item } from "./types";

/** What lies over an image, once it is there. */
export function useMasks(item: Item, card: string): { layers: Mask[]; wrong: string } {
  const [found, setFound] = useState<{ layers: Mask[]; wrong: string }>({ layers: [], wrong: "" });
  const wanted = JSON.stringify(masksOf(item).map(([name, one]) => [name, one.file, one.state]));
  useEffect(() => {
    let ended = false;
    if (wanted === "[]") {
      setFound({ layers: [], wrong: "" });
      return;
    }
    masks(item, card).then(
      (layers) => !ended && setFound({ layers, wrong: "" }),
      (problem: unknown) => !ended && setFound({ layers: [], wrong: messageOf(problem) }),
    );
    return () => {
      ended = true;
    };
  }, [item.run, wanted, card]);
  return found;
}

export function described(item: Item): string {
  return item.caption ?? `${item.key} at step ${item.step}`;
}

export function Picture({ item, card, onOpen }: { item: Item; card: string; onOpen: () => void }) {
  const box = useRef<HTMLButtonElement>(null);
  const over = useRef<HTMLCanvasElement>(null);
  const [natural, setNatural] = useState<[number, number] | null>(null);
  const [broken, setBroken] = useState(false);
  const { layers, wrong } = useMasks(item, card);
  const chosen = chosenOf(card);
  const file = item.file ?? "";
  useEffect(() => setBroken(false), [file]);
  const room = useSize(box, broken);
  const scale = natural && room.width > 0 ? Math.min(room.width / natural[0], room.height / natural[1]) : 0;
  const size: [number, number] = natural ? [natural[0] * scale, natural[1] * scale] : [0, 0];
  const hasOver = boxesOf(item).length > 0 || layers.length > 0;
  useLayoutEffect(() => {
    if (over.current && hasOver && scale > 0) paint(over.current, item, layers, chosen, size, { scale, x: 0, y: 0 });
  }, [item, layers, chosen, size[0], size[1], dark.value, hasOver]);
  if (broken) return <Broken>Its file is no image that a browser shows, or is damaged.</Broken>;
  return (
    <>
      <button class="picture" ref={box} onClick={onOpen} aria-label={`Enlarge ${described(item)}`}>
        <span class="fitted" style={size[0] > 0 ? { width: `${size[0]}px`, height: `${size[1]}px` } : { width: "100%", height: "100%" }}>
          <img
            src={address(item.run, file)}
            alt=""
            class={scale > 1 ? "pixels" : ""}
            onLoad={(event) => setNatural([event.currentTarget.naturalWidth, event.currentTarget.naturalHeight])}
            onError={() => setBroken(true)}
          />
          {hasOver && <canvas ref={over} />}
        </span>
      </button>
      {wrong && <Broken>{wrong}.</Broken>}
    </>
  );
}
