// What api/media-index answers, as docs/viewer-api.md says it.
import type { Problem, Value } from "../wire/types";

export interface Item {
  run: string;
  key: string;
  step: number;
  time: string | null;
  rank: number;
  kind: string;
  state: "ready" | "inline" | "waiting" | "kept" | "lost" | "gone" | "damaged";
  file: string | null;
  bytes: number | null;
  caption: string | null;
  meta: Record<string, Value>;
  error?: string;
}

/** What lies in a file of its own and belongs to an item: a mask. */
export type Attached = Pick<Item, "kind" | "state" | "file" | "bytes" | "meta">;

export interface MediaCard {
  id: string;
  key: string;
  steps: number[];
  steps_left_out: number;
  items: Item[];
  left_out: number;
  none_yet: { run: string; first: number }[];
  problems: Problem[];
  /** The run has more by now, which the server has not read yet. */
  again: boolean;
  error?: string;
  remedy?: string;
}
