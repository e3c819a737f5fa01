// One image over the page: true zoom to the pixels and beyond, the pixel under the cursor with its values.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { dark } from "../parts/theme";
import { address } from "./data";
import { chosenOf } from "./chosen";
import { boxesOf } from "./labels";
import { Labels } from "./Labels";
import { paint } from "./overlay";
import { described, useMasks } from "./Picture";
import { Save } from "./parts";
import type { Item } from "./types";

interface Place {
  scale: number;
  x: number;
  y: number;
}

const [LEAST, MOST] = [0.01, 64];

/** The same point of the image stays under the cursor. */
export function zoomed(place: Place, factor: number, at: [number, number]): Place {
  const scale = Math.min(MOST, Math.max(LEAST, place.scale * factor));
  const by = scale / place.scale;
  return { scale, x: at[0] - (at[0] - place.x) * by, y: at[1] - (at[1] - place.y) * by };
}

export function fitted(image: [number, number], room: [number, number]): Place {
  const scale = Math.min(MOST, room[0] / image[0], room[1] / image[1]);
  return { scale, x: (room[0] - image[0] * scale) / 2, y: (room[1] - image[1] * scale) / 2 };
}

/** The values of one pixel, read from the image itself. */
function pixel(image: HTMLImageElement, x: number, y: number): number[] | null {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return null;
  context.imageSmoothingEnabled = false;
  context.drawImage(image, x, y, 1, 1, 0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data];
}

export function ViewedImage({ item, card, title, onClose, children }: { item: Item; card: string; title: string; onClose: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const stage = useRef<HTMLDivElement>(null);
  const image = useRef<HTMLImageElement>(null);
  const over = useRef<HTMLCanvasElement>(null);
  const [natural, setNatural] = useState<[number, number] | null>(null);
  const [place, setPlace] = useState<Place | null>(null);
  const [words, setWords] = useState("");
  const { layers, wrong } = useMasks(item, card);
  const chosen = chosenOf(card);
  const room = (): [number, number] => [stage.current?.clientWidth ?? 1, stage.current?.clientHeight ?? 1];
  useLayoutEffect(() => {
    if (!dialog.current?.open) dialog.current?.showModal();
  }, []);
  // Another step of the same size is seen at the same place, so that pixels can be compared.
  useEffect(() => {
    if (natural) setPlace(fitted(natural, room()));
  }, [natural?.[0], natural?.[1]]);
  useLayoutEffect(() => {
    if (over.current && place) paint(over.current, item, layers, chosen, room(), place);
  }, [item, layers, chosen, place, dark.value]);
  const by = (factor: number, at?: [number, number]) => {
    const [width, height] = room();
    setPlace((now) => now && zoomed(now, factor, at ?? [width / 2, height / 2]));
  };
  const whole = () => natural && setPlace(fitted(natural, room()));
  const actual = () => by(1 / (place?.scale ?? 1));
  const move = (dx: number, dy: number) => setPlace((now) => now && { ...now, x: now.x + dx, y: now.y + dy });
  const onKey = (event: KeyboardEvent) => {
    const acts: Record<string, () => void> = {
      "+": () => by(1.5), "=": () => by(1.5), "-": () => by(1 / 1.5), "0": whole, "1": actual,
      ArrowLeft: () => move(60, 0), ArrowRight: () => move(-60, 0), ArrowUp: () => move(0, 60), ArrowDown: () => move(0, -60),
    };
    const act = acts[event.key];
    if (!act || (event.target as HTMLElement).tagName === "INPUT") return;
    event.preventDefault();
    event.stopPropagation();
    act();
  };
  const at = (event: MouseEvent): [number, number] => {
    const edge = stage.current?.getBoundingClientRect();
    return [event.clientX - (edge?.left ?? 0), event.clientY - (edge?.top ?? 0)];
  };
  const told = (event: MouseEvent) => {
    if (!place || !natural || !image.current) return;
    const [left, top] = at(event);
    const [x, y] = [Math.floor((left - place.x) / place.scale), Math.floor((top - place.y) / place.scale)];
    if (x < 0 || y < 0 || x >= natural[0] || y >= natural[1]) {
      setWords("");
      return;
    }
    const values = pixel(image.current, x, y);
    const classes = layers.map((mask) => mask.names.get(mask.grey.values[y * mask.grey.width + x] ?? 0)).filter(Boolean);
    setWords([`x ${x}, y ${y}`, values ? `rgba ${values.join(" ")}` : "", ...classes].filter(Boolean).join(" · "));
  };
  const drag = (event: PointerEvent) => {
    told(event);
    if (event.buttons & 1) move(event.movementX, event.movementY);
  };
  return (
    <dialog class="zoom" ref={dialog} aria-label={title} onClose={onClose} onKeyDown={onKey}>
      <header>
        <h2>{title}</h2>
        <span class="zoombar">
          <button onClick={() => by(1 / 1.5)} title="Smaller (-)" aria-label="Smaller">
            −
          </button>
          <output aria-live="polite">{place ? `${Math.round(place.scale * 100)} %` : ""}</output>
          <button onClick={() => by(1.5)} title="Larger (+)" aria-label="Larger">
            +
          </button>
          <button onClick={whole} title="The whole image (0)">
            fit
          </button>
          <button onClick={actual} title="A pixel for a pixel (1)">
            100 %
          </button>
        </span>
        <Save item={item} what="Save" />
        <button aria-label="Close" title="Close (Escape)" onClick={() => dialog.current?.close()}>
          ✕
        </button>
      </header>
      <div class="controls">
        {children}
        <Labels name={card} items={[item]} />
      </div>
      <div
        class="stage"
        ref={stage}
        tabIndex={0}
        role="img"
        aria-label={described(item)}
        onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
        onPointerMove={drag}
        onWheel={(event) => {
          event.preventDefault();
          by(2 ** (-event.deltaY / 300), at(event));
        }}
      >
        <img
          ref={image}
          src={address(item.run, item.file ?? "")}
          alt=""
          draggable={false}
          class={place && place.scale > 1 ? "pixels" : ""}
          style={place && natural ? { width: `${natural[0] * place.scale}px`, height: `${natural[1] * place.scale}px`, left: `${place.x}px`, top: `${place.y}px` } : { visibility: "hidden" }}
          onLoad={(event) => setNatural([event.currentTarget.naturalWidth, event.currentTarget.naturalHeight])}
        />
        {(boxesOf(item).length > 0 || layers.length > 0) && <canvas ref={over} />}
      </div>
      <footer>
        {natural && `${natural[0]} × ${natural[1]} pixels`} {words && `· ${words}`} {wrong && <span class="warn">⚠ {wrong}</span>}
        {item.caption && <p>{item.caption}</p>}
      </footer>
    </dialog>
  );
}
