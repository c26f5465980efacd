/**
 * Calls of `/api/v1`. One function a call; a failure is always a `Problem` (RFC 9457), also when the network is gone.
 * Holds no state: who is signed in is the cookie's business, what was loaded is the callers'.
 */
import type {
  Account, Agent, Alarm, AlarmPage, Cause, Device, FleetMap, Municipality, Profiles, QuarantinePage, Series, Status,
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
const post = <T>(path: string, body: unknown = {}) =>
  call<T>(address(path), { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const signIn = (name: string, password: string) => post<{ account: Account }>("/sign-in", { name, password });
export const signOut = () => post<null>("/sign-out");
export const session = () => get<{ account: Account }>("/session");
export const profiles = () => get<Profiles>("/profiles");
export const municipalities = () => get<{ items: Municipality[] }>("/municipalities");
export const deviceMap = () => get<FleetMap>("/map");
export const device = (id: number) => get<Device>(`/devices/${id}`);
export const searchDevices = (q: string, limit = 8) => get<{ items: Device[] }>("/devices", { q, limit });
export const series = (id: number, from: number, to: number, points: number) =>
  get<Series>(`/devices/${id}/series`, { from: Math.floor(from), to: Math.ceil(to), points });
export const alarms = (query: { state?: string; device_id?: number; folded?: "true"; limit?: number; after?: number | null }) => get<AlarmPage>("/alarms", query);
export const acknowledge = (id: number) => post<Alarm>(`/alarms/${id}/acknowledge`);
export const close = (id: number, cause: Cause, note: string) => post<Alarm>(`/alarms/${id}/close`, { cause, note: note || null });
export const agents = () => get<{ items: Agent[] }>("/agents");
export const quarantine = (after?: number | null) => get<QuarantinePage>("/quarantine", { limit: 100, after });
export const admit = (id: number) => post<unknown>(`/quarantine/${id}/admit`);
export const status = () => get<Status>("/status");
