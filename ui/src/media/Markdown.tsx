// Markdown of a run: read in a worker, made harmless by DOMPurify, put in as nodes; it never runs, loads or asks anything.
import DOMPurify from "dompurify";
import { useEffect, useRef, useState } from "preact/hooks";

/** A text whose reading takes longer is shown as it was written. */
const PATIENCE_MS = 3_000;

const TAGS = "a b blockquote br code del details em h1 h2 h3 h4 h5 h6 hr i img input kbd li mark ol p pre q s samp small span strong sub summary sup table tbody td tfoot th thead tr u ul".split(" ");
const ATTRIBUTES = ["align", "alt", "checked", "colspan", "disabled", "href", "open", "rowspan", "src", "start", "title", "type"];

const purify = DOMPurify(window);
purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName === "IMG" && !/^data:image\/(png|jpeg|gif|webp);base64,/.test(node.getAttribute("src") ?? "")) {
    // No picture is loaded from elsewhere: what it says, and where it lies, are words.
    const words = document.createElement("span");
    words.className = "quiet";
    words.textContent = `[${[node.getAttribute("alt"), node.getAttribute("src")].filter(Boolean).join(": ") || "picture"}]`;
    node.replaceWith(words);
  } else if (node.nodeName === "A") {
    const href = node.getAttribute("href") ?? "";
    if (/^(https?:\/\/|mailto:)/i.test(href)) {
      node.setAttribute("target", "_blank");
      node.setAttribute("rel", "noopener noreferrer nofollow");
      node.setAttribute("title", href);
    } else node.removeAttribute("href"); // An address of ours is none of the run's business.
  } else if (node.nodeName === "INPUT") {
    // A list of tasks shows what is done; nothing of a run is for filling in.
    node.replaceWith(node.getAttribute("type") === "checkbox" ? (node.hasAttribute("checked") ? "☑" : "☐") : "");
  }
});

export function harmless(html: string): DocumentFragment {
  return purify.sanitize(html, { ALLOWED_TAGS: TAGS, ALLOWED_ATTR: ATTRIBUTES, ALLOW_DATA_ATTR: false, ALLOW_ARIA_ATTR: false, RETURN_DOM_FRAGMENT: true });
}

let worker: Worker | null = null;
let turn = 0;
const waiting = new Map<number, (html: string | null) => void>();

function begin(): Worker {
  const made = new Worker(new URL("./reader.ts", import.meta.url), { type: "module", name: "reader" });
  made.addEventListener("message", (event: MessageEvent<{ turn: number; html: string }>) => {
    waiting.get(event.data.turn)?.(event.data.html);
    waiting.delete(event.data.turn);
  });
  made.addEventListener("error", give_up);
  return made;
}

/** A text can be written so that its reading never ends; the worker is ended, and others begin anew. */
function give_up(): void {
  worker?.terminate();
  worker = null;
  for (const done of waiting.values()) done(null);
  waiting.clear();
}

function read(text: string): Promise<string | null> {
  worker ??= begin();
  const mine = ++turn;
  return new Promise((done) => {
    waiting.set(mine, done);
    worker?.postMessage({ turn: mine, text });
    setTimeout(() => waiting.has(mine) && give_up(), PATIENCE_MS);
  });
}

export function Markdown({ text }: { text: string }) {
  const node = useRef<HTMLDivElement>(null);
  const [plain, setPlain] = useState(false);
  useEffect(() => {
    let ended = false;
    void read(text).then((html) => {
      if (ended) return;
      setPlain(html === null);
      if (html !== null) node.current?.replaceChildren(harmless(html));
    });
    return () => {
      ended = true;
    };
  }, [text]);
  return (
    <>
      <div class="markdown" ref={node} />
      {plain && (
        <>
          <p class="warn">Its Markdown takes too long to read; this is how it was written.</p>
          <pre>{text}</pre>
        </>
      )}
    </>
  );
}
