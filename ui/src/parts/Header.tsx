// The line at the top: the directory, which runs, how news come, theme, help.
import { useEffect, useState } from "preact/hooks";
import { way } from "../live/live";
import { afar, server } from "../state/table";
import { Export } from "../views/Export";
import { inFile } from "../wire/file";
import { FileLine } from "./FileLine";
import { WhereBox } from "../table/WhereBox";
import { lazy } from "./lazy";
import { help } from "./keyboard";
import { dark, toggle } from "./theme";
import { seconds } from "./words";

const WORDS = {
  starting: ["…", "The page asks for news."],
  live: ["live", "News come as they happen."],
  polling: ["polling", "The event stream is silent (a proxy may hold it back); the page asks every 2 seconds."],
  away: ["no answer", "The viewer cannot be reached. Is `steno view` still running?"],
} as const;

const Views = lazy(() => import("../views/Views").then((one) => one.Views));

/** The store cannot be reached: what is shown is what was known last, and how old that is. */
function Afar() {
  const [, tick] = useState(0);
  const said = afar.value;
  useEffect(() => {
    if (!said) return;
    const timer = setInterval(() => tick((one) => one + 1), 1000);
    return () => clearInterval(timer);
  }, [said]);
  if (!said) return null;
  const age = said.seen === null ? null : Math.max(0, Math.round((Date.now() - Date.parse(said.seen)) / 1000));
  return (
    <span class="way away" title={said.problem} role="status">
      store out of reach: {age === null ? "nothing is known of it" : `as it was ${seconds(age)} ago`}
    </span>
  );
}

export function Header() {
  const [views, setViews] = useState(false);
  const file = inFile();
  const [word, title] = WORDS[way.value];
  return (
    <header class="top">
      <h1 title={server.value?.dir ?? ""}>
        steno <span>{server.value?.dir ?? ""}</span>
      </h1>
      {file ? (
        <FileLine file={file} />
      ) : (
        <>
      <WhereBox />
      <span class="viewsmenu">
        <button aria-expanded={views} onClick={() => setViews(!views)} title="Kept views">
          views
        </button>
        {views && <Views close={() => setViews(false)} />}
      </span>
      <Export />
      <Afar />
      {(!afar.value || way.value === "away") && (
        <span class={`way ${way.value}`} title={title} role="status">
          {word}
        </span>
      )}
        </>
      )}
      <button onClick={toggle} title="Dark or light (d)" aria-label={dark.value ? "Light" : "Dark"}>
        {dark.value ? "☀" : "☾"}
      </button>
      <button onClick={() => (help.value = !help.value)} title="Keys (?)" aria-label="Keys">
        ?
      </button>
    </header>
  );
}
