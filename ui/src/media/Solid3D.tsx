// A mesh or a cloud of points in a tile: turned by the mouse or the arrow keys.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useSize } from "../parts/size";
import { dark } from "../parts/theme";
import { count, many, messageOf, number } from "../parts/words";
import { load } from "./file";
import { described } from "./Picture";
import { type Grid, type Solid, arrays, solidOf } from "./npz";
import { Broken, Save } from "./parts";
import { type Camera, draw } from "./scene";
import type { Item } from "./types";

const MOST_BYTES = 64 << 20;
const FIRST: Camera = { turn: 0.7, tilt: 0.5, zoom: 1 };

export function Solid3D({ item }: { item: Item }) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [found, setFound] = useState<Map<string, Grid> | null>(null);
  const [solid, setSolid] = useState<Solid | null>(null);
  const [member, setMember] = useState(0);
  const [wrong, setWrong] = useState("");
  const [camera, setCamera] = useState(FIRST);
  const tooLarge = (item.bytes ?? 0) > MOST_BYTES;
  const fails = (problem: unknown) => setWrong(messageOf(problem));
  useEffect(() => {
    if (tooLarge || item.file === null) return;
    setWrong("");
    return load(
      item,
      async (answer) => arrays(await answer.arrayBuffer()),
      setFound,
      (problem) => fails(problem instanceof RangeError ? new Error("its file is damaged") : problem),
    );
  }, [item.run, item.file]);
  const batch = found?.get("vertices")?.shape[0] ?? 0;
  useEffect(() => {
    if (!found) return;
    try {
      setSolid(solidOf(found, Math.min(member, Math.max(0, batch - 1))));
    } catch (problem) {
      fails(problem);
    }
  }, [found, member]);
  const ready = solid !== null && wrong === "";
  const { width, height } = useSize(box, ready);
  useLayoutEffect(() => {
    if (!canvas.current || !solid || width < 10 || height < 10) return;
    try {
      draw(solid, camera, canvas.current, [width, height], dark.value ? [124, 184, 245] : [11, 92, 173]);
    } catch (problem) {
      fails(problem);
    }
  }, [solid, camera, width, height, dark.value]);
  if (tooLarge) return <Broken>It has more than 64 MiB. <Save item={item} what="Save it" /></Broken>;
  if (wrong) return <Broken>It cannot be shown: {wrong}. <Save item={item} what="Save it" /></Broken>;
  if (!solid) return null;
  const move = (turn: number, tilt: number, zoom = 1) =>
    setCamera((now) => ({ turn: now.turn + turn, tilt: Math.max(-1.57, Math.min(1.57, now.tilt + tilt)), zoom: Math.max(0.1, Math.min(40, now.zoom * zoom)) }));
  const onKey = (event: KeyboardEvent) => {
    const acts: Record<string, () => void> = {
      ArrowLeft: () => move(0.1, 0), ArrowRight: () => move(-0.1, 0), ArrowUp: () => move(0, 0.1), ArrowDown: () => move(0, -0.1),
      "+": () => move(0, 0, 1.25), "=": () => move(0, 0, 1.25), "-": () => move(0, 0, 0.8), "0": () => setCamera(FIRST),
    };
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  };
  const spans = solid.low.map((low, axis) => `${"xyz"[axis] ?? ""} ${number(low, 3)} … ${number(solid.high[axis] ?? NaN, 3)}`).join(", ");
  return (
    <div class="solid">
      <div
        class="solidbox"
        ref={box}
        tabIndex={0}
        role="img"
        aria-label={`${described(item)}: ${spans}. Arrow keys turn it, + and - zoom.`}
        onKeyDown={onKey}
        onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
        onPointerMove={(event) => event.buttons & 1 && move(-event.movementX * 0.01, event.movementY * 0.01)}
        onWheel={(event) => {
          // The page scrolls, unless the object has the focus.
          if (document.activeElement !== event.currentTarget) return;
          event.preventDefault();
          move(0, 0, 2 ** (-event.deltaY / 400));
        }}
      >
        <canvas ref={canvas} />
      </div>
      <p class="caption">
        {solid.faces.length ? `${many(solid.faces.length / 3, "face")}, ` : ""}
        {solid.faces.length ? `${count(solid.vertices.length / 3)} vertices` : many(solid.vertices.length / 3, "point")}
        {solid.left > 0 && <span class="warn">, {count(solid.left)} that are not finite are not shown</span>}; {spans}
        {batch > 1 && (
          <label>
            {" "}
            member{" "}
            <input type="number" min={0} max={batch - 1} value={member} onInput={(event) => setMember(Math.max(0, Math.min(batch - 1, Number(event.currentTarget.value) || 0)))} /> of {count(batch)}
          </label>
        )}
      </p>
    </div>
  );
}
