// The files and directories kept with a run: versions, aliases, digests, sizes, and their files to download.
import { useEffect, useState } from "preact/hooks";
import { Coded } from "../parts/Coded";
import { bytes, cell, count, many, messageOf, moment } from "../parts/words";
import * as client from "../wire/runclient";
import type { Artifact, ArtifactsAnswer, FilesAnswer } from "../wire/ofrun";
import { useAsked } from "./asking";

const PAGE = 200;

function facts(one: Artifact): string {
  return [
    one.step === null ? "" : `step ${count(one.step)}`,
    `rank ${one.rank}`,
    `attempt ${one.attempt}`,
    one.time ? moment(new Date(one.time)) : "",
    one.source && one.source !== one.name ? `from ${one.source}` : "",
    ...Object.entries(one.metadata).map(([name, value]) => `${name} = ${cell(value, name)}`),
  ]
    .filter(Boolean)
    .join(", ");
}

function Download({ run, of, path, children }: { run: string; of: Artifact; path: string; children: string }) {
  if (of.digest === null) return <span class="quiet">not stored yet</span>;
  return (
    <a href={client.artifactAddress(run, of.name, of.digest, path)} download={path.split("/").at(-1) || of.name}>
      {children}
    </a>
  );
}

/** What is in a directory, a page of it at a time. */
function Files({ run, of }: { run: string; of: Artifact }) {
  const [found, setFound] = useState<FilesAnswer | null>(null);
  const [wrong, setWrong] = useState("");
  const more = (offset: number) =>
    void client.filesOf(run, of.name, of.digest ?? "", offset).then(
      (answer) => setFound((before) => ({ ...answer, files: [...(offset ? (before?.files ?? []) : []), ...answer.files] })),
      (said: unknown) => setWrong(messageOf(said)),
    );
  useEffect(() => more(0), [run, of.digest]);
  if (wrong) return <p class="warn">{wrong}</p>;
  if (!found) return <p class="quiet">Loading…</p>;
  return (
    <ul class="files">
      {found.files.map((one) => (
        <li key={one.path}>
          <Download run={run} of={of} path={one.path}>
            {one.path}
          </Download>{" "}
          <span class="quiet">
            {bytes(one.size)} {one.digest?.slice(0, 12)}
          </span>
        </li>
      ))}
      {found.files.length < found.total && (
        <li>
          <button onClick={() => more(found.files.length)}>{many(found.total - found.files.length, "more file")}</button>
        </li>
      )}
    </ul>
  );
}

function Version({ run, one }: { run: string; one: Artifact }) {
  const [open, setOpen] = useState(false);
  return (
    <div class="version">
      <code title={one.digest ?? ""}>{one.digest?.slice(0, 12) ?? "no digest yet"}</code> <span>{bytes(one.size)}</span>{" "}
      {one.kind === "file" ? (
        <Download run={run} of={one} path={one.source}>
          download
        </Download>
      ) : (
        <button aria-expanded={open} disabled={one.digest === null} onClick={() => setOpen(!open)}>
          files
        </button>
      )}{" "}
      {one.aliases.map((alias) => (
        <span class="chip" key={alias}>
          {alias}
        </span>
      ))}{" "}
      <span class="quiet">{facts(one)}</span>
      {open && <Files run={run} of={one} />}
    </div>
  );
}

function Row({ run, one }: { run: string; one: ArtifactsAnswer["artifacts"][number] }) {
  const [older, setOlder] = useState<Artifact[] | null>(null);
  const [wrong, setWrong] = useState("");
  const show = () => {
    if (older) setOlder(null);
    else
      client.versions(run, one.name).then(
        (answer) => setOlder(answer.versions.filter((other) => other.digest !== one.digest || other.time !== one.time)),
        (said: unknown) => setWrong(messageOf(said)),
      );
  };
  return (
    <li class="artifact" data-artifact={one.name}>
      <h3>
        {one.name}
        {one.kind === "dir" ? "/" : ""}{" "}
        {one.versions > 1 && (
          <button aria-expanded={older !== null} onClick={show}>
            {many(one.versions, "version")}
          </button>
        )}
      </h3>
      <Version run={run} one={one} />
      {wrong && <p class="warn">{wrong}</p>}
      {older?.map((other) => (
        <Version key={`${other.digest}${other.time}`} run={run} one={other} />
      ))}
    </li>
  );
}

export function Artifacts({ run }: { run: string }) {
  const [match, setMatch] = useState("");
  const [limit, setLimit] = useState(PAGE);
  const { found, wrong } = useAsked(JSON.stringify([run, match, limit]), () => client.artifacts(run, match, 0, limit));
  return (
    <div class="artifacts">
      <div class="poprow">
        <input type="search" placeholder="search names and aliases" aria-label="Search artifacts" value={match} onChange={(event) => setMatch(event.currentTarget.value)} />
        <span class="quiet">{found ? many(found.total, "artifact") : "Loading…"}</span>
      </div>
      {wrong && (
        <p class="trouble" role="alert">
          <b>{wrong}</b>
        </p>
      )}
      {found?.total === 0 && <p class="nothing">{match ? `No name and no alias holds “${match}”.` : <Coded text="This run has no artifacts. `run.log_artifact(path)` keeps a file or a directory with the run." />}</p>}
      <ul>
        {found?.artifacts.map((one) => (
          <Row key={one.name} run={run} one={one} />
        ))}
      </ul>
      {found && found.artifacts.length < found.total && <button onClick={() => setLimit(limit + PAGE)}>{many(found.total - found.artifacts.length, "more artifact")}</button>}
    </div>
  );
}
