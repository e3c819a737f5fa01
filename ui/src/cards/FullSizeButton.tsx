// The button that shows a card as large as the window, and the one that closes it.
import { change } from "../state/view";

export function FullSizeButton({ name, full }: { name: string; full: boolean }) {
  return full ? (
    <button class="tool" title="Close (Escape)" aria-label="Close" onClick={() => change({ card: null })}>
      ✕
    </button>
  ) : (
    <button class="tool" title="Full size" aria-label={`Full size: ${name}`} onClick={() => change({ card: name })}>
      ⤢
    </button>
  );
}
