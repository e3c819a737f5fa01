// The list of kept views: open, save, rename, remove; a file that is no view is a line that says so.
import { useEffect, useState } from "preact/hooks";
import { mayEdit } from "../edit/edits";
import { usePopover } from "../parts/focus";
import { moment } from "../parts/words";
import { toAddress } from "../state/address";
import { view } from "../state/view";
import type { KeptView } from "../wire/types";
import { leftOut, listed, load, remove, rename, save, trouble, views } from "./views";

function One({ one, close }: { one: KeptView; close: () => void }) {
  const [doing, setDoing] = useState<"" | "rename" | "remove">("");
  const [to, setTo] = useState(one.name);
  if (one.problem)
    return (
      <li class="keptbad" role="alert">
        <b>⚠ {one.name}</b> cannot be opened: {one.problem}
      </li>
    );
  const renamed = async () => {
    if (to.trim() === one.name || (await rename(one.name, to.trim())) === null) setDoing("");
  };
  return (
    <li>
      {doing === "rename" ? (
        <span class="poprow">
          <input
            aria-label={`New name of ${one.name}`}
            value={to}
            ref={(node) => {
              if (node && node !== document.activeElement) node.focus();
            }}
            onInput={(event) => setTo(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter") void renamed();
              if (event.key === "Escape") {
                event.stopPropagation();
                setDoing("");
              }
            }}
          />
          <button onClick={() => void renamed()}>rename</button>
        </span>
      ) : doing === "remove" ? (
        <span class="poprow">
          <span class="of">Remove “{one.name}”?</span>
          <button onClick={() => void remove(one.name)}>remove</button>
          <button onClick={() => setDoing("")}>keep</button>
        </span>
      ) : (
        <span class="poprow">
          <a class="of" href={`#${one.view}`} title={one.saved ? `saved ${moment(new Date(one.saved))}` : ""} aria-current={one.view === toAddress(view.value) ? "true" : undefined} onClick={close}>
            {one.name}
          </a>
          {mayEdit.value && (
            <>
              <button class="tool" aria-label={`Rename ${one.name}`} title="Rename" onClick={() => setDoing("rename")}>
                ✎
              </button>
              <button class="tool" aria-label={`Remove ${one.name}`} title="Remove" onClick={() => setDoing("remove")}>
                ✕
              </button>
            </>
          )}
        </span>
      )}
    </li>
  );
}

function Save() {
  const [name, setName] = useState("");
  const [taken, setTaken] = useState("");
  const keep = async (replace: boolean) => {
    const wrong = await save(name.trim(), toAddress(view.value), replace);
    setTaken(wrong?.status === 409 ? name.trim() : "");
    if (!wrong) setName("");
  };
  return (
    <div class="poprow">
      <input
        placeholder="save this view as"
        aria-label="Name of the view"
        value={name}
        onInput={(event) => {
          setName(event.currentTarget.value);
          setTaken("");
        }}
        onKeyDown={(event) => event.key === "Enter" && name.trim() && void keep(false)}
      />
      {taken ? <button onClick={() => void keep(true)}>replace</button> : <button disabled={!name.trim()} onClick={() => void keep(false)}>save</button>}
    </div>
  );
}

export function Views({ close }: { close: () => void }) {
  useEffect(() => {
    listed.value = true;
    void load();
    return () => {
      listed.value = false;
      trouble.value = null;
    };
  }, []);
  const { value: known } = views;
  const popover = usePopover(close);
  return (
    <div
      ref={popover}
      class="popover keptviews"
      role="dialog"
      aria-label="Views"
      onKeyDown={(event) => event.key !== "Escape" && event.stopPropagation()}
    >
      <div class="poprow">
        <b>views</b>
        <button class="away" onClick={close} aria-label="Close">
          ✕
        </button>
      </div>
      {known !== null && known.length > 0 && (
        <ul class="poplist kept">
          {known.map((one) => (
            <One key={one.name} one={one} close={close} />
          ))}
          {leftOut.value > 0 && <li class="quiet">and {leftOut.value.toLocaleString("en")} more</li>}
        </ul>
      )}
      {known?.length === 0 && <p class="quiet">No view is kept here yet. The address holds this one: copy it to show it to others.</p>}
      {mayEdit.value ? <Save /> : <p class="quiet">This viewer keeps no views; one that is started with --allow-edit does.</p>}
      {trouble.value && (
        <p class="wrongview" role="alert">
          {trouble.value.message} {trouble.value.remedy}
        </p>
      )}
    </div>
  );
}
