// The place of a media card, until the code that shows media is there.
import { type Signal, signal } from "@preact/signals";
import type { FunctionComponent } from "preact";
import { useEffect } from "preact/hooks";

export interface MediaProps {
  name: string;
  width: number;
  height: number;
  full?: boolean;
}

const loaded: Signal<FunctionComponent<MediaProps> | null> = signal(null);
const wrong = signal("");
let asked = false;

function load(): void {
  if (asked) return;
  asked = true;
  import("./MediaCard").then(
    (found) => {
      loaded.value = found.MediaCard;
      wrong.value = "";
    },
    () => {
      asked = false;
      wrong.value = "The code that shows media cannot be loaded. Is `steno view` still running?";
    },
  );
}

export function Media(props: MediaProps) {
  useEffect(load, []);
  const Card = loaded.value;
  if (Card) return <Card {...props} />;
  return (
    <article class="card" aria-label={props.name} data-key={props.name} style={{ width: `${props.width}px`, height: `${props.height}px` }}>
      <header>
        <h3 title={props.name}>{props.name}</h3>
      </header>
      <div class="trouble quiet">{wrong.value}</div>
    </article>
  );
}
