// The row that the keys j and k move.
import { signal } from "@preact/signals";

export const at = signal(-1);
