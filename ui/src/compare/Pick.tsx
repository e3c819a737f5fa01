// A box for the name of a column, with those that there are.
import { useEffect, useId, useState } from "preact/hooks";
import { columnNames, names } from "../state/table";
import { written } from "../table/complete";

const FIELDS = ["started", "duration", "records", "points", "state", "group", "name", "project", "tags"];
const MOST = 300;

/** All names that a column may have, as the `where` language writes them. */
export function allNames(): string[] {
  const { config, summary, metrics } = names.value;
  return [
    ...FIELDS,
    ...config.map((one) => written(`config.${one}`)),
    ...summary.map((one) => written(`summary.${one}`)),
    ...metrics.flatMap((one) => ["last", "min", "max"].map((part) => written(`${one}.${part}`))),
  ];
}

export function plain(name: string): string {
  return name.replaceAll("`", "");
}

export function Pick({ label, value, onPick, empty = "" }: { label: string; value: string; onPick: (name: string) => void; empty?: string }) {
  const [typed, setTyped] = useState(value);
  const id = useId();
  useEffect(() => setTyped(value), [value]);
  useEffect(() => void columnNames(), []);
  const text = typed === value ? "" : typed.toLowerCase();
  const offered = allNames().filter((one) => one.toLowerCase().includes(text));
  const pick = (name: string) => {
    const wanted = name.trim();
    if (wanted !== value) onPick(wanted);
  };
  return (
    <label class="pickname">
      {label}{" "}
      <input
        list={id}
        value={typed}
        placeholder={empty}
        onInput={(event) => {
          setTyped(event.currentTarget.value);
          if (offered.includes(event.currentTarget.value)) pick(event.currentTarget.value);
        }}
        onChange={(event) => pick(event.currentTarget.value)}
        onFocus={(event) => event.currentTarget.select()}
      />
      <datalist id={id}>
        {offered.slice(0, MOST).map((one) => (
          <option key={one} value={one} />
        ))}
      </datalist>
    </label>
  );
}
