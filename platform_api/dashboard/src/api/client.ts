/**
 * Calls of `/api/v1`. One function a call; a failure is always a `Problem` (RFC 9457), also when the network is gone.
 * Holds no state: who is signed in is the cookie's business, what was loaded is the callers'.
 */
import type {
  Account, Agent, Alarm, AlarmDetail, AlarmPage, Cause, DetectorTrust, Device, FleetMap, MaintenanceWindow, Municipality, NewWindow, Profiles, QuarantinePage, Series, Status,
} from "./types";

export const ROOT = "api/v1";

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly detail: string,
    readonly retryAfterS: number | null = null,
  ) {
    super(detail);
  }
}

type Query = Record<string, string | number | null | undefined>;

export function address(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, v]) => v !== null && v !== undefined && v !== "");
  const text = new URLSearchParams(given.map(([k, v]) => [k, String(v)])).toString();
  return `${ROOT}${path}${text ? `?${text}` : ""}`;
}

async function call<T>(path: string, init: RequestInit = {}): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...init, headers: { "X-Dure": "dashboard", ...init.headers } });
  } catch {
    throw new Problem(0, "unreachable");
  }
  if (!answer.ok) {
    const body = (await answer.json().catch(() => ({}))) as { detail?: string; title?: string };
    throw new Problem(answer.status, body.detail ?? body.title ?? answer.statusText, Number(answer.headers.get("Retry-After")) || null);
  }
  const text = await answer.text();
  return (text ? JSON.parse(text) : null) as T;
}

const get = <T>(path: string, query: Query = {}, signal?: AbortSignal) => call<T>(address(path, query), signal ? { signal } : {});
const send = <T>(method: "POST" | "PUT" | "DELETE", path: string, body: unknown = {}) =>
  call<T>(address(path), { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
const post = <T>(path: string, body: unknown = {}) => send<T>("POST", path, body);

export const signIn = (name: string, password: string) => post<{ account: Account }>("/sign-in", { name, password });
export const signOut = () => post<null>("/sign-out");
export const session = () => get<{ account: Account }>("/session");
export const profiles = () => get<Profiles>("/profiles");
export const municipalities = () => get<{ items: Municipality[] }>("/municipalities");
export const deviceMap = () => get<FleetMap>("/map");
export const device = (id: number) => get<Device>(`/devices/${id}`);
export const searchDevices = (q: string, limit = 8) => get<{ items: Device[] }>("/devices", { q, limit });
export const circuit = (municipality: string, name: string) => get<{ items: Device[] }>("/devices", { municipality, circuit: name, limit: 1000 });
export const devicesOf = (municipality: string, q: string, limit: number) => get<{ items: Device[] }>("/devices", { municipality, q, limit });
export const series = (id: number, from: number, to: number, points: number) =>
  get<Series>(`/devices/${id}/series`, { from: Math.floor(from), to: Math.ceil(to), points });
export interface AlarmQuery {
  state?: string;
  severity?: number | string;
  kind?: string;
  detector?: string;
  municipality?: string;
  assigned_to?: string;
  cause?: string;
  group?: number;
  folded?: "true";
  device_id?: number;
  limit?: number;
  after?: number | null;
}
export const alarms = (query: AlarmQuery) => get<AlarmPage>("/alarms", query as Query);
export const alarm = (id: number) => get<AlarmDetail>(`/alarms/${id}`);
export const acknowledge = (id: number) => post<Alarm>(`/alarms/${id}/acknowledge`);
export const assign = (id: number, account: string | null) => post<Alarm>(`/alarms/${id}/assign`, { account });
export const comment = (id: number, text: string) => post<AlarmDetail>(`/alarms/${id}/comment`, { text });
export const close = (id: number, cause: Cause, note: string) => post<Alarm>(`/alarms/${id}/close`, { cause, note: note || null });
export const assignees = (municipality: string) => get<{ items: string[] }>("/assignees", { municipality });
export const detectors = (municipality: string) => get<{ items: DetectorTrust[] }>("/detectors", { municipality });
export const windows = (query: { municipality?: string; phase?: string; limit?: number; after?: number | null } = {}) =>
  get<{ items: MaintenanceWindow[]; next: number | null }>("/maintenance-windows", query);
export const addWindow = (made: NewWindow) => post<MaintenanceWindow>("/maintenance-windows", made);
export const changeWindow = (id: number, made: NewWindow) => send<MaintenanceWindow>("PUT", `/maintenance-windows/${id}`, made);
export const removeWindow = (id: number) => send<null>("DELETE", `/maintenance-windows/${id}`);
export const agents = () => get<{ items: Agent[] }>("/agents");
export const quarantine = (reason: string, after?: number | null) => get<QuarantinePage>("/quarantine", { limit: 100, reason, after });
export const admit = (id: number) => post<unknown>(`/quarantine/${id}/admit`);
export const status = () => get<Status>("/status");
