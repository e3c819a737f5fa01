// News for the media that are shown; their code is loaded when the first of them comes on the screen.

type Listener = (told: Set<string> | null) => void;

const listeners = new Set<Listener>();

export function listen(listener: Listener): void {
  listeners.add(listener);
}

/** Keys that have new points; null: any may have. */
export function heard(told: Set<string> | null): void {
  for (const listener of listeners) listener(told);
}
