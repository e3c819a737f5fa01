// What all charts share: the filter of keys, x, axes, smoothing, groups, ranks, zoom.
import { useEffect, useState } from "preact/hooks";
import { axis as axisName, many, smoothing } from "../parts/words";
import type { View } from "../state/address";
import { charted, keys } from "../state/keys";
import { columnNames, names } from "../state/table";
import { change, resetZoom, stepOut, view, zoomed } from "../state/view";
import { inFile } from "../wire/file";
import type { Smoothing } from "../wire/types";

function Choice({ label, value, options, onPick }: { label: string; value: string; options: [string, string][]; onPick: (value: string) => void }) {
  return (
    <label>
      {label}
      <select value={value} onChange={(event) => onPick(event.currentTarget.value)}>
        {options.map(([key, text]) => (
          <option key={key} value={key} selected={key === value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

function Check({ label, on, part, title }: { label: string; on: boolean; part: (on: boolean) => Partial<View>; title: string }) {
  return (
    <label class="check" title={title}>
      <input type="checkbox" checked={on} onChange={(event) => change(part(event.currentTarget.checked))} /> {label}
    </label>
  );
}

function Smooth() {
  const { smooth, x } = view.value;
  const [text, setText] = useState(smooth ? String(smooth.width) : "");
  useEffect(() => setText(smooth ? String(smooth.width) : ""), [smooth]);
  const pick = (kind: string) => {
    if (kind === "none") change({ smooth: null });
    else change({ smooth: { kind: kind as Smoothing["kind"], width: smooth?.width ?? 100 } });
  };
  return (
    <>
      <Choice
        label="smoothing"
        value={smooth?.kind ?? "none"}
        options={[
          ["none", "off"],
          ["ema", "EMA"],
          ["gaussian", "Gaussian"],
          ["mean", "running mean"],
        ]}
        onPick={pick}
      />
      {smooth && (
        <label>
          <input
            class="width"
            inputMode="decimal"
            aria-label="Width of smoothing"
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
            onChange={(event) => {
              const width = Number(event.currentTarget.value);
              if (width > 0 && Number.isFinite(width)) change({ smooth: { kind: smooth.kind, width } });
              else setText(String(smooth.width));
            }}
          />
          <span class="quiet">{smoothing(smooth, x)}</span>
        </label>
      )}
    </>
  );
}

function Groups() {
  const { group, spread } = view.value;
  const options = ["group", ...names.value.config.map((one) => `config.${one}`)];
  const left = options.filter((one) => !group?.includes(one));
  return (
    <>
      <label>
        group by
        <select
          aria-label="Group by"
          value=""
          onPointerEnter={() => void columnNames()}
          onFocus={() => void columnNames()}
          onChange={(event) => {
            const name = event.currentTarget.value;
            event.currentTarget.value = "";
            if (name === "*") change({ group: [] });
            else if (name) change({ group: [...(group ?? []), name] });
          }}
        >
          <option value="">{group === null ? "nothing" : "add…"}</option>
          {group === null && <option value="*">all in one</option>}
          {left.map((one) => (
            <option key={one} value={one}>
              {one}
            </option>
          ))}
        </select>
      </label>
      {group !== null && (
        <>
          {group.length === 0 && (
            <button class="chip" title="No groups" onClick={() => change({ group: null })}>
              all in one ✕
            </button>
          )}
          {group.map((one) => (
            <button
              class="chip"
              key={one}
              title={`Not by ${one}`}
              onClick={() => {
                const rest = group.filter((other) => other !== one);
                change({ group: rest.length ? rest : null });
              }}
            >
              {one} ✕
            </button>
          ))}
          <Choice
            label="mean ±"
            value={spread}
            options={[
              ["std", "std"],
              ["stderr", "stderr"],
              ["range", "min–max"],
              ["none", "nothing"],
            ]}
            onPick={(value) => change({ spread: value as View["spread"] })}
          />
        </>
      )}
    </>
  );
}

/** The same y for all charts: both ends, or none. */
function FixedY() {
  const { fixedY } = view.value;
  const [ends, setEnds] = useState(["", ""]);
  useEffect(() => setEnds(fixedY ? fixedY.map(String) : ["", ""]), [fixedY]);
  const put = (at: number, text: string) => {
    const next = ends.map((one, index) => (index === at ? text : one));
    setEnds(next);
    const [low, high] = next.map((one) => (one.trim() === "" ? NaN : Number(one))) as [number, number];
    if (low < high && Number.isFinite(high - low)) change({ fixedY: [low, high] });
    else if (next.every((one) => one.trim() === "") && fixedY) change({ fixedY: null });
  };
  return (
    <label title="The same y for all charts; the rest is counted">
      y
      {["from", "to"].map((word, at) => (
        <input
          key={word}
          class="end"
          inputMode="decimal"
          placeholder={word}
          aria-label={`y ${word}`}
          value={ends[at] ?? ""}
          onChange={(event) => put(at, event.currentTarget.value)}
        />
      ))}
    </label>
  );
}

/** What a file's charts are of; another axis or group would need the runs. */
function AsMade() {
  const { x, smooth, group } = view.value;
  const said = [`x: ${axisName(x)}`, ...(smooth ? [smoothing(smooth, x)] : []), ...(group ? [group.length ? `grouped by ${group.join(", ")}` : "all runs in one group"] : [])];
  return <span class="quiet">{said.join(" · ")}</span>;
}

export function Toolbar() {
  const { filter, x, logX, logY, robust, ranks } = view.value;
  const found = charted.value.reduce((sum, one) => sum + one.keys.length + one.media.length, 0);
  const axis = typeof x === "string" ? x : `key:${x.key}`;
  const own: [string, string][] = keys.value.keys.filter((_, at) => (keys.value.kinds[at] ?? "number") === "number").slice(0, 500).map((key) => [`key:${key}`, key]);
  if (typeof x !== "string" && !keys.value.keys.includes(x.key)) own.push([axis, x.key]);
  return (
    <div class="toolbar" role="toolbar" aria-label="Charts">
      <input
        class="filter"
        type="search"
        placeholder="filter charts (text or regex)"
        aria-label="Filter charts"
        value={filter}
        onInput={(event) => change({ filter: event.currentTarget.value }, true)}
      />
      <span class="quiet found">{many(found, "chart")}</span>
      {inFile() ? <AsMade /> : <Choice
        label="x"
        value={axis}
        options={[["step", "step"], ["relative", "relative time"], ["time", "wall time"], ...own]}
        onPick={(value) => change({ x: value.startsWith("key:") ? { key: value.slice(4) } : (value as "step"), zoom: null })}
      />}
      {x !== "time" && <Check label="log x" on={logX} part={(on) => ({ logX: on })} title="Logarithmic x" />}
      <Check label="log y" on={logY} part={(on) => ({ logY: on })} title="Logarithmic y" />
      <Check label="robust y" on={robust} part={(on) => ({ robust: on })} title="1st to 99th percentile; what lies outside is counted" />
      <FixedY />
      {!inFile() && <><Smooth />
      <Groups />
      <Choice
        label="ranks"
        value={ranks ?? ""}
        options={[
          ["", "as logged"],
          ["all", "a line each"],
          ["band", "band"],
          ["odd", "the odd one"],
        ]}
        onPick={(value) => change({ ranks: (value || null) as View["ranks"] })}
      /></>}
      {zoomed.value && (
        <>
          <button onClick={stepOut} title="One step out (z)">
            zoom out
          </button>
          <button onClick={resetZoom} title="All (double click)">
            reset
          </button>
        </>
      )}
    </div>
  );
}
