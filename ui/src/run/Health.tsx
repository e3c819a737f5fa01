// Whether all that was recorded is where it should be: destinations, object stores, collectors, losses, and what to do.
import { bytes, count, many, seconds } from "../parts/words";
import * as client from "../wire/runclient";
import type { Destination, HealthAnswer, Lost, NodeRow, Upload } from "../wire/ofrun";
import { useAsked } from "./asking";

const BAD = new Set(["stopped", "retrying", "failed", "not confirmed"]);

function stateOf(one: Destination): string {
  const behind = one.lag ? "" : ", all delivered";
  return one.state === "closed" ? `closed${behind}` : one.state || (one.lag ? "behind" : "up to date");
}

function Destinations({ rows }: { rows: Destination[] }) {
  return (
    <table aria-label="Destinations">
      <thead>
        <tr>
          {["destination", "state", "delivered", "behind by", "skipped", "tried again", "last error"].map((one) => (
            <th scope="col" key={one}>
              {one}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((one) => (
          <tr key={`${one.node}/${one.name}`}>
            <th scope="row">
              {one.name}
              {one.node ? <small class="quiet"> node {one.node.slice(0, 8)}</small> : null}
            </th>
            <td class={BAD.has(one.state) ? "bad" : ""}>{stateOf(one)}</td>
            <td>{one.delivered === undefined ? "" : count(one.delivered)}</td>
            <td>{one.lag ? many(one.lag, "record") : ""}</td>
            <td>{one.skipped ? count(one.skipped) : ""}</td>
            <td>{one.retries ? count(one.retries) : ""}</td>
            <td>
              {one.error ?? ""}
              {Object.entries(one.left_out ?? {}).map(([what, times]) => (
                <div key={what}>
                  left out: {what} ({count(times)})
                </div>
              ))}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function storeLine(one: Upload): string {
  const where = Object.values(one.stores ?? {}).join(", ") || "object store";
  const left = one.files_left ? `${many(one.files_left, "file")} (${bytes(one.bytes_left ?? 0)}) to go` : "";
  const eta = one.eta_secs ? `about ${seconds(one.eta_secs)} more` : "";
  const again = one.retries ? `tried again ${many(one.retries, "time")}` : "";
  return [`${where}: ${one.state || "waiting"}`, one.files ? `${many(one.files, "file")} (${bytes(one.bytes ?? 0)}) there` : "", left, eta, again, one.error ?? ""].filter(Boolean).join(", ");
}

function nodeLine(one: NodeRow): string {
  const age = one.status_age_secs === null ? "" : `its last status is ${seconds(one.status_age_secs)} old`;
  const waiting = one.artifacts?.["waiting"] ? `${many(one.artifacts["waiting"], "artifact")} to store` : "";
  const failed = one.artifacts?.["failed"] ? `${many(one.artifacts["failed"], "artifact")} failed` : "";
  return [`the collector of ${one.host || `node ${one.node}`} is ${one.collector}`, age, waiting, failed, one.error ?? ""].filter(Boolean).join(", ");
}

/** A collector that left when all was done is no news. */
function hasLeft(one: NodeRow): boolean {
  return one.collector === "not running" && !one.error && !one.artifacts?.["waiting"] && !one.artifacts?.["failed"];
}

/** In one line: what is well, or how much is not. */
export function verdict(found: HealthAnswer, losses: Lost[]): { good: boolean; text: string } {
  const trouble = found.advice.length + losses.length + found.destinations.filter((one) => BAD.has(one.state) && !found.advice.some((line) => line.includes(one.name))).length;
  if (trouble === 0) return { good: true, text: "All that was recorded is where it should be." };
  return { good: false, text: trouble === 1 ? "One thing needs a look." : `${count(trouble)} things need a look.` };
}

export function Health({ run, losses, unposted }: { run: string; losses: Lost[]; unposted: string[] }) {
  const { found, wrong } = useAsked(run, () => client.health(run), 5);
  if (wrong)
    return (
      <p class="trouble" role="alert">
        <b>{wrong}</b>
      </p>
    );
  if (!found) return <section class="health" aria-label="Health" />;
  const { good, text } = verdict(found, losses);
  return (
    <section class="health" aria-label="Health">
      <h3>health</h3>
      <p class={good ? "good" : "warn"}>
        {good ? "✓" : "⚠"} {text}
      </p>
      <ul>
        {found.advice.map((one) => (
          <li class="warn" key={one}>
            {one}
          </li>
        ))}
        {losses.map((one) => (
          <li class="warn" key={one.text}>
            {one.text}
          </li>
        ))}
        {unposted.map((one) => (
          <li class="warn" key={one}>
            {one}
          </li>
        ))}
        {found.uploads.map((one) => (
          <li class={BAD.has(one.state) ? "bad" : ""} key={`${one.node}`}>
            {storeLine(one)}
          </li>
        ))}
        {found.nodes.filter((one) => !good || !hasLeft(one)).map((one) => (
          <li class={one.error ? "bad" : "quiet"} key={one.node}>
            {nodeLine(one)}
          </li>
        ))}
      </ul>
      {found.destinations.length > 0 && <Destinations rows={found.destinations} />}
      {found.log.length > 0 && (
        <details>
          <summary>the end of the collectors' logs</summary>
          <pre>{found.log.join("\n")}</pre>
        </details>
      )}
    </section>
  );
}
