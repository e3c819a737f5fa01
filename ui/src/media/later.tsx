// Code of a kind of media, loaded when the first value of the kind comes on the screen.
import { signal } from "@preact/signals";
import type { FunctionComponent } from "preact";
import { useEffect } from "preact/hooks";
import { Broken } from "./parts";

export function later<Props extends object>(load: () => Promise<FunctionComponent<Props>>): FunctionComponent<Props> {
  const loaded = signal<{ Code: FunctionComponent<Props> } | null>(null);
  const wrong = signal(false);
  let asked = false;
  return function Later(props: Props) {
    useEffect(() => {
      if (asked) return;
      asked = true;
      load().then(
        (Code) => {
          wrong.value = false;
          loaded.value = { Code };
        },
        () => {
          asked = false;
          wrong.value = true;
        },
      );
    }, []);
    if (loaded.value) return <loaded.value.Code {...props} />;
    return wrong.value ? <Broken>The code that shows it cannot be loaded. Is `steno view` still running?</Broken> : null;
  };
}
