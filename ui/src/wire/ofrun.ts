// What the answers about one run hold, as docs/viewer-api.md says it.
import type { Value } from "./types";

export type Said = Record<string, Value>;

export interface AttemptRow {
  attempt: number;
  started: string | null;
  ended: string | null;
  rewind: number | null;
  world_size: number | null;
  processes: number;
  hosts: string[];
  more_hosts: number;
  ends: number;
  failed: number;
}

export interface FailureRow {
  rank: number;
  time: string | null;
  step: number | null;
  error?: string;
  traceback?: string;
}

export interface Lost {
  kind: string;
  name: string;
  count: number;
  reason: string;
  text: string;
}

export interface RunAnswer {
  config: Said;
  summary: Said;
  meta: Said;
  attempts: AttemptRow[];
  failures: FailureRow[];
  tags: string[];
  group: string | null;
  notes: string;
  archived: boolean;
  state: string;
  losses: Lost[];
  unposted: string[];
  problem: string;
}

export interface Destination {
  node: string | null;
  name: string;
  state: string;
  delivered?: number;
  lag?: number;
  skipped?: number;
  retries?: number;
  error?: string | null;
  left_out?: Record<string, number>;
}

export interface Upload {
  node: string | null;
  state: string;
  stores?: Record<string, string>;
  files?: number;
  files_left?: number;
  bytes?: number;
  bytes_left?: number;
  rate?: number;
  eta_secs?: number | null;
  retries?: number;
  error?: string | null;
}

export interface NodeRow {
  node: string;
  host: string;
  collector: string;
  status_age_secs: number | null;
  error: string | null;
  artifacts: Record<string, number> | null;
}

export interface HealthAnswer {
  state: string;
  advice: string[];
  damage: string[];
  nodes: NodeRow[];
  destinations: Destination[];
  uploads: Upload[];
  unposted_bytes: number;
  log: string[];
  notes: Said[];
  filesystems: { what: string; path: string; kind: string; free_bytes: number }[];
}

export interface Artifact {
  name: string;
  kind: string;
  digest: string | null;
  size: number;
  step: number | null;
  time: string | null;
  rank: number;
  attempt: number;
  source: string;
  metadata: Said;
  aliases: string[];
}

export interface ArtifactsAnswer {
  artifacts: (Artifact & { versions: number })[];
  total: number;
}

export interface FilesAnswer extends Artifact {
  files: { path: string; size: number; digest: string | null }[];
  total: number;
}
