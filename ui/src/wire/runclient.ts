// Asks the server about one run: its health, its artifacts.
import { ask } from "./client";
import type { Question } from "../run/lines";
import type { Artifact, ArtifactsAnswer, FilesAnswer, HealthAnswer } from "./ofrun";
import type { RecordsAnswer } from "./types";

export async function health(run: string): Promise<HealthAnswer> {
  return (await ask(`api/health?run=${encodeURIComponent(run)}`)).json() as Promise<HealthAnswer>;
}

function some(path: string, given: Record<string, string | number>): Promise<Response> {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(given)) if (value !== "") query.set(name, String(value));
  return ask(`${path}?${query}`);
}

export type RecordsPage = RecordsAnswer & { offset?: number; kinds?: Record<string, number>; ranks?: number[] };

/** Entries of a run from the `after`th on, or the last of them. */
export async function records(asked: Question, after: number, limit: number, last: boolean): Promise<RecordsPage> {
  return (await some("api/records", { ...asked, ...(last ? { last: limit } : { after, limit }) })).json() as Promise<RecordsPage>;
}

/** All that was printed, as a text. */
export function outputAddress(run: string, rank: string): string {
  return `api/output?${new URLSearchParams({ run, ...(rank ? { rank } : {}) })}`;
}

export async function artifacts(run: string, match: string, offset: number, limit: number): Promise<ArtifactsAnswer> {
  return (await some("api/artifacts", { run, match, offset, limit })).json() as Promise<ArtifactsAnswer>;
}

export async function versions(run: string, name: string): Promise<{ versions: Artifact[]; total: number }> {
  return (await some("api/artifacts", { run, name })).json() as Promise<{ versions: Artifact[]; total: number }>;
}

export async function filesOf(run: string, name: string, digest: string, offset: number): Promise<FilesAnswer> {
  return (await some("api/artifacts", { run, name, digest, offset })).json() as Promise<FilesAnswer>;
}

/** Where a file of an artifact is downloaded. */
export function artifactAddress(run: string, name: string, digest: string, path: string): string {
  return `api/artifact/${[run, name, digest, ...path.split("/")].map(encodeURIComponent).join("/")}`;
}
