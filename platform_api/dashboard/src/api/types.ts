/**
 * The shapes that the dashboard reads from `/api/v1`. Times are ms since 1970 UTC.
 * Kept by hand beside the generated `schema.d.ts`, because values of a kind are open: a new profile adds properties.
 */
export type Tongue = "ko" | "en";
export interface Label {
  en: string;
  ko: string;
}
export type Value = number | string | boolean | null;
export type DeviceState = "critical" | "warning" | "info" | "silent" | "ok" | "unknown";
export type AlarmState = "open" | "acknowledged" | "suppressed" | "cleared" | "closed";
export type Severity = 1 | 2 | 3;
export type Cause = "real" | "false" | "planned_work";

export interface Account {
  name: string;
  role: "operator" | "engineer" | "admin";
  municipality: string | null;
  language: string | null;
}

export interface Property {
  type: "number" | "integer" | "enum" | "boolean";
  unit: string;
  label: Label;
  decimals: number;
  values: string[];
  value_labels: Record<string, Label>;
  chart: boolean;
  range: [number, number] | null;
}

export interface Profile {
  label: Label;
  symbol: string;
  display: { headline?: string | null; state?: string | null; level?: string | null };
  report_period_s: number;
  properties: Record<string, Property>;
}

export interface Profiles {
  profiles: Record<string, Profile>;
  conditions: Record<string, Label>;
  reasons: Record<string, Label>;
}

export interface Municipality {
  code: string;
  name: Label;
  latitude: number;
  longitude: number;
  time_zone: string;
}

export interface Device {
  device_id: number;
  device: string;
  municipality: string;
  kind: string;
  agent: string | null;
  label: Label;
  latitude: number | null;
  longitude: number | null;
  attributes: Record<string, unknown>;
  state: DeviceState;
  observed_at: number | null;
  values: Record<string, Value>;
}

/** The devices of one kind in one municipality: every list is as long as `device_id`. */
export interface FleetPart {
  municipality: string;
  kind: string;
  device_id: number[];
  device: string[];
  longitude: number[];
  latitude: number[];
  state: DeviceState[];
  observed_at: (number | null)[];
  values: Record<string, Value[]>;
}

export interface FleetMap {
  as_of: number | null;
  parts: FleetPart[];
}

export interface Evidence {
  values?: (number | string | null)[];
  observed_at?: number[];
  low?: number | null;
  high?: number | null;
  expected?: number | string | null;
  parameters?: Record<string, unknown>;
}

/** Of a group alarm: what it stands for. */
export interface AlarmGroup {
  scope: "circuit" | "agent" | "municipality";
  key: string;
  size: number | null;
  members_open: number;
  members_most: number;
}

export interface Alarm {
  alarm_id: number;
  municipality: string;
  device_id: number | null;
  device: string | null;
  kind: string | null;
  label: Label | null;
  agent: string | null;
  condition: string;
  detector: string;
  property: string | null;
  severity: Severity;
  state: AlarmState;
  opened_at: number;
  last_finding_at: number | null;
  findings: number;
  occurrences: number;
  evidence: Evidence | null;
  group: AlarmGroup | null;
  parent_id: number | null;
  window_id: number | null;
  assigned_to: string | null;
  raised_at: number | null;
  escalated_at: number | null;
  acknowledged_at: number | null;
  acknowledged_by: string | null;
  cleared_at: number | null;
  closed_at: number | null;
  closed_by: string | null;
  cause: Cause | null;
  note: string | null;
}

export interface AlarmEvent {
  event_id: number;
  at: number;
  event: "opened" | "reopened" | "suppressed" | "released" | "grouped" | "acknowledged" | "assigned" | "commented" | "escalated" | "cleared" | "closed";
  who: string | null;
  observed_at: number | null;
  detail: Record<string, unknown>;
}

export interface AlarmDetail extends Alarm {
  events: AlarmEvent[];
  members: Alarm[];
}

export interface AlarmPage {
  items: Alarm[];
  next: number | null;
  counts: Partial<Record<AlarmState, number>>;
}

/** What people made of the alarms of one detector on one kind (null: on agents). */
export interface DetectorTrust {
  detector: string;
  kind: string | null;
  open: number;
  cleared: number;
  closed: number;
  real: number;
  false: number;
  planned_work: number;
  false_share: number | null;
  median_acknowledge_s: number | null;
}

export type WindowScope = "municipality" | "kind" | "circuit" | "agent" | "device";

export interface NewWindow {
  municipality: string;
  scope: WindowScope;
  target: string | null;
  from: number;
  to: number;
  reason: string;
}

/** Planned work: alarms that begin in its scope and span are suppressed. */
export interface MaintenanceWindow extends NewWindow {
  window_id: number;
  phase: "planned" | "active" | "over";
  suppressed: number;
  created_at: number;
  created_by: string;
}

export interface Column {
  value?: Value[];
  mean?: (number | null)[];
  min?: (number | null)[];
  max?: (number | null)[];
}

export interface Series {
  device_id: number;
  kind: string;
  resolution: "raw" | "minute" | "hour" | "day";
  reports?: "period" | "changes";
  bucket_s?: number | null;
  from: number;
  to: number;
  gap_after_s: number;
  observed_at: number[];
  properties: Record<string, Column>;
  alarms: Alarm[];
}

export interface Agent {
  agent_id: number;
  agent: string;
  municipality: string;
  replay: boolean;
  state: "ok" | "silent" | "behind" | "never";
  seen_at: number | null;
  clock_at: number | null;
  backlog: number | null;
  received: number;
  committed: number;
  duplicate: number;
  out_of_order: number;
  quarantined: number;
  lost: number;
  devices: number;
}

export interface QuarantineItem {
  quarantine_id: number;
  received_at: number;
  municipality: string | null;
  agent: string | null;
  topic: string | null;
  seq: number | null;
  reason: string;
  detail: string | null;
  kind: string | null;
  device: string | null;
  observed_at: number | null;
  content: unknown;
  observations: number | null;
  bytes: number | null;
  admit_requested_at: number | null;
  admit_requested_by: string | null;
  admitted_at: number | null;
}

export interface QuarantinePage {
  items: QuarantineItem[];
  next: number | null;
  refused?: { agent_id: number; agent: string; reason: string; observations: number }[];
}

export interface Status {
  observations: Record<"committed" | "duplicate" | "out_of_order" | "quarantined" | "lost" | "received", number>;
  observations_per_s: number | null;
  latency_p50_ms: number | null;
  latency_p99_ms: number | null;
  agents: Partial<Record<Agent["state"], number>>;
  database: { size_bytes: number | null };
  workers: { worker: string; started_at: number; seen_at: number; counters: Record<string, unknown> }[];
}

/** Columns of one kind as the stream carries them: parallel arrays. */
export type LiveColumns = { device_id: number[]; observed_at: number[] } & Record<string, Value[]>;
