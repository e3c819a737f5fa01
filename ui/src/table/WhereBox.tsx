// The box for `where`, with completion, and the place of an error under it.
import { useEffect, useRef, useState } from "preact/hooks";
import { many } from "../parts/words";
import { all, columnNames, names, problem, total } from "../state/table";
import { change, view } from "../state/view";
import { type Completion, complete } from "./complete";

// Without `list`, which the types of a combobox ask for: the offers are of this page.
const COMBOBOX: object = { role: "combobox", "aria-controls": "where-options", "aria-autocomplete": "list" };

export function WhereBox() {
  const { where } = view.value;
  const [text, setText] = useState(where);
  const [offer, setOffer] = useState<Completion | null>(null);
  const [at, setAt] = useState(-1);
  // What is offered before anything was typed is to be seen: Tab goes on to the next box.
  const [typed, setTyped] = useState(false);
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => setText(where), [where]);
  const look = (typed: string) => {
    setOffer(complete(typed, box.current?.selectionStart ?? typed.length, names.peek()));
    setAt(-1);
  };
  const commit = (typed = text) => {
    setOffer(null);
    if (typed.trim() !== view.peek().where) change({ where: typed.trim() });
  };
  const take = (option: string) => {
    if (!offer) return;
    const next = `${text.slice(0, offer.from)}${option} ${text.slice(offer.to).trimStart()}`;
    setText(next);
    setOffer(null);
    setTyped(false);
    const caret = offer.from + option.length + 1;
    queueMicrotask(() => {
      box.current?.focus();
      box.current?.setSelectionRange(caret, caret);
    });
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key === "Enter") {
      const option = offer?.options[at];
      if (option === undefined) commit();
      else take(option);
      event.preventDefault();
    } else if (event.key === "Escape") {
      if (offer) setOffer(null);
      else box.current?.blur();
    } else if (offer && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const count = offer.options.length;
      setAt(event.key === "ArrowDown" ? (at + 1) % count : (Math.max(at, 0) + count - 1) % count);
      event.preventDefault();
    } else if (offer && (typed || at >= 0) && event.key === "Tab" && !event.shiftKey) {
      take(offer.options[Math.max(at, 0)] as string);
      event.preventDefault();
    }
  };
  const wrong = problem.value?.at !== null && problem.value?.at !== undefined ? problem.value : null;
  return (
    <div class="wherebox">
      <input
        ref={box}
        id="where"
        type="search"
        {...COMBOBOX}
        aria-expanded={offer !== null}
        aria-label="Which runs"
        {...(at >= 0 ? { "aria-activedescendant": `where-${at}` } : {})}
        aria-invalid={wrong !== null}
        spellcheck={false}
        autocomplete="off"
        placeholder='which runs: config.lr < 1e-3 and "baseline" in tags'
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setTyped(true);
          look(event.currentTarget.value);
          if (event.currentTarget.value === "") commit("");
        }}
        onFocus={() => {
          setTyped(false);
          void columnNames().then(() => document.activeElement === box.current && look(box.current?.value ?? ""));
          look(text);
        }}
        onBlur={() => setTimeout(() => setOffer(null), 150)}
        onKeyDown={onKey}
      />
      {wrong ? (
        <div class="wrong" role="alert">
          <code>
            {where.slice(0, wrong.at ?? 0)}
            <mark>{where.slice(wrong.at ?? 0) || " "}</mark>
          </code>{" "}
          {wrong.message}
        </div>
      ) : (
        where && total.value !== null && <span class="quiet count">{total.value.toLocaleString("en")} of {many(all.value, "run")}</span>
      )}
      {offer && (
        <ul class="offer" id="where-options" role="listbox" aria-label="Completions">
          {offer.options.map((option, index) => (
            <li
              key={option}
              id={`where-${index}`}
              role="option"
              aria-selected={index === at}
              onMouseDown={(event) => {
                event.preventDefault();
                take(option);
              }}
            >
              {option}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
