// What the colours of a picture of many runs stand for.
import { many } from "../parts/words";
import type { Colours } from "./colours";
import { plain } from "./Pick";

export function Legend({ colours, name }: { colours: Colours; name: string }) {
  if (colours.legend.length === 0) return null;
  return (
    <div class="values" role="list" aria-label={`Colours by ${plain(name)}`}>
      {colours.legend.map((one) => (
        <span role="listitem" key={one.text}>
          <i style={{ background: one.colour }} /> {one.text}
        </span>
      ))}
      {colours.more > 0 && <span role="listitem">and {many(colours.more, "more value")}</span>}
    </div>
  );
}
