/**
 * Loads the city and follows the live stream: reconnects with jittered back-off, loads again what was missed,
 * and says honestly whether what is on the screen is live, stopped, or merely without new data.
 */
import * as api from "../api/client";
import { follow, type Message } from "../api/sse";
import type { Alarm, LiveColumns } from "../api/types";
import { triage } from "../alarms/triage.svelte";
import { session } from "../session/session.svelte";
import { city } from "./city.svelte";
import { clock } from "./clock.svelte";

const KEEP_ALIVE_QUIET_MS = 40_000; // the platform says something every 15 s at least
const DATA_QUIET_MS = 90_000;       // no device of a whole city reporting for this long is no coincidence
const RELOAD_MS = 600_000;          // devices registered meanwhile
const BACK_OFF_MS = [1000, 2000, 4000, 8000, 15_000];
const OPEN_PAGE = 1000;
const OPEN_PAGES = 20;

class Feed {
  connection = $state<"connecting" | "live" | "stopped">("connecting");
  lastDataAt = $state(0);
  #stop = new AbortController();
  #failures = 0;
  #wake: (() => void) | null = null;

  dataStopped = $derived(this.connection === "live" && this.lastDataAt > 0 && clock.wall - this.lastDataAt > DATA_QUIET_MS);
  stale = $derived(this.connection === "stopped" || this.dataStopped);

  async start(): Promise<void> {
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    const counting = setInterval(() => city.count(), 1000);
    const reloading = setInterval(() => void this.load(), RELOAD_MS);
    signal.addEventListener("abort", () => {
      clearInterval(counting);
      clearInterval(reloading);
    });
    await this.load();
    while (!signal.aborted) {
      await follow(api.address("/stream"), KEEP_ALIVE_QUIET_MS, signal, (m) => this.#deliver(m)).catch(() => undefined);
      if (signal.aborted) return;
      this.connection = "stopped";
      const wait = (BACK_OFF_MS[Math.min(this.#failures, BACK_OFF_MS.length - 1)] ?? 1000) * (0.75 + Math.random() / 2);
      this.#failures += 1;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, wait);
      });
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  reconnect(): void {
    this.#failures = 0;
    this.#wake?.();
  }

  async load(): Promise<void> {
    try {
      const [profiles, municipalities] = await Promise.all([api.profiles(), api.municipalities()]);
      city.describe(profiles, municipalities.items);
      const [devices, open] = await Promise.all([api.deviceMap(), this.#openAlarms()]);
      city.replace(devices, open);
      triage.replaceOpen(open);
      city.count();
      if (!this.lastDataAt) this.lastDataAt = Date.now();
    } catch (problem) {
      if (problem instanceof api.Problem && problem.status === 401) session.end();
      if (city.phase !== "ready") city.phase = "failed";
    }
  }

  async #openAlarms(): Promise<Alarm[]> {
    const all: Alarm[] = [];
    let after: number | null = null;
    for (let page = 0; page < OPEN_PAGES; page += 1) {
      const found: Awaited<ReturnType<typeof api.alarms>> = await api.alarms({ state: "open,acknowledged", folded: "true", limit: OPEN_PAGE, after });
      all.push(...found.items);
      after = found.next;
      if (after === null) break;
    }
    return all;
  }

  #deliver({ event, data }: Message): void {
    if (event === "hello") {
      const { missed } = JSON.parse(data) as { missed?: boolean };
      const again = missed === true || this.connection === "stopped" || city.phase === "failed";
      this.connection = "live";
      this.#failures = 0;
      if (again) void this.load();
    } else if (event === "stale") {
      this.connection = "stopped";
    } else if (event === "observations") {
      this.lastDataAt = Date.now();
      city.observe(JSON.parse(data) as Record<string, LiveColumns>);
    } else if (event === "alarms") {
      const alarms = JSON.parse(data) as Alarm[];
      city.alarmed(alarms);
      triage.receive(alarms);
      if (alarms.some((a) => a.detector === "agent_silent")) void this.load();
    }
  }
}

export const feed = new Feed();
