// That the open run has something new.
import { signal } from "@preact/signals";

export const turn = signal(0);
