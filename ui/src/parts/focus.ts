// Where the focus goes when something opens over the page, and that it goes back to what opened it.
import { type RefObject } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

const opener = (): HTMLElement | null => (document.activeElement instanceof HTMLElement ? document.activeElement : null);

/** A dialog that keeps the page behind it from the keyboard while it is shown. */
export function useModal(shown: boolean): RefObject<HTMLDialogElement> {
  const dialog = useRef<HTMLDialogElement>(null) as RefObject<HTMLDialogElement>;
  useLayoutEffect(() => {
    const node = dialog.current;
    if (!shown || !node) return;
    const from = opener();
    if (!node.open) node.showModal();
    return () => {
      node.close(); // while it is open nothing else takes the focus
      if (from?.isConnected) from.focus({ preventScroll: true });
    };
  }, [shown]);
  return dialog;
}

/** A small window beside what opened it: what it is for has the focus, or its first button; Escape closes it wherever the focus is. */
export function usePopover(close: () => void): RefObject<HTMLDivElement> {
  const popover = useRef<HTMLDivElement>(null) as RefObject<HTMLDivElement>;
  const last = useRef(close);
  last.current = close;
  // Before the browser itself looks for what has autofocus: what has the focus now is what opened it.
  useLayoutEffect(() => {
    const node = popover.current;
    const from = opener();
    (node?.querySelector<HTMLElement>("[autofocus]") ?? node?.querySelector<HTMLElement>("input, a, button"))?.focus();
    const escape = (event: KeyboardEvent) => {
      if (event.key === "Escape" && !document.querySelector("dialog[open]")) last.current();
    };
    addEventListener("keydown", escape);
    return () => {
      removeEventListener("keydown", escape);
      const back = () => from?.isConnected && from.focus({ preventScroll: true });
      if (node?.contains(document.activeElement)) back();
      // What is removed loses the focus to the document.
      queueMicrotask(() => document.activeElement === document.body && back());
    };
  }, []);
  return popover;
}
