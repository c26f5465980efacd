/** The platform's own word on itself, asked every few seconds while somebody looks. */
import * as api from "../api/client";
import type { Agent, Status } from "../api/types";
import { session } from "../session/session.svelte";

const STATUS_MS = 5000;

class Health {
  status = $state.raw<Status | null>(null);
  agents = $state.raw<Agent[] | null>(null);
  failed = $state(false);
  statusFailed = $state(false);

  /** Keeps `status` fresh until the returned function is called. */
  watch(): () => void {
    return every(STATUS_MS, async () => {
      try {
        this.status = await api.status();
        this.statusFailed = false;
      } catch (problem) {
        this.statusFailed = true;
        throw problem;
      }
    });
  }

  watchAgents(): () => void {
    return every(STATUS_MS, async () => {
      try {
        this.agents = (await api.agents()).items;
        this.failed = false;
      } catch (problem) {
        this.failed = true;
        throw problem;
      }
    });
  }
}

function every(ms: number, ask: () => Promise<void>): () => void {
  let stopped = false;
  const turn = async () => {
    if (stopped) return;
    if (!document.hidden) {
      await ask().catch((problem: unknown) => {
        if (problem instanceof api.Problem && problem.status === 401) session.end();
      });
    }
    if (!stopped) setTimeout(() => void turn(), ms);
  };
  void turn();
  return () => (stopped = true);
}

export const health = new Health();
