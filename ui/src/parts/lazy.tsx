// A part of the page that is loaded when it is first shown, so that the first page is small.
import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";

/** The component that `load` gives; nothing stands in its place meanwhile. */
export function lazy<Props extends object>(load: () => Promise<ComponentType<Props>>): (props: Props) => preact.JSX.Element | null {
  let known: ComponentType<Props> | null = null;
  return function Lazy(props: Props) {
    const [, setLoaded] = useState(known !== null);
    const [wrong, setWrong] = useState(false);
    useEffect(() => {
      if (known) return;
      load().then(
        (found) => {
          known = found;
          setLoaded(true);
        },
        () => setWrong(true),
      );
    }, []);
    if (wrong) return <p class="warn">A part of the page cannot be loaded. Load the page again.</p>;
    const Known = known;
    return Known ? <Known {...props} /> : null;
  };
}
