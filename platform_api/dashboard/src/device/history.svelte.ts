/** The history of one device over the chosen span: loads it, and again when the device has said something new. */
import * as api from "../api/client";
import type { Series } from "../api/types";
import { clock } from "../city/clock.svelte";
import { SPAN_MS, type Span } from "../route/address";

const POINTS = 600;
const AGAIN_MS = { raw: 3000, minute: 20_000, hour: 60_000, day: 60_000 } as const;

export class History {
  series = $state.raw<Series | null>(null);
  failed = $state(false);
  loading = $state(false);
  #asked = "";
  #loadedAt = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly id: number) {}

  /** Loads the span that ends at `at` (null: at the city's clock). */
  async load(span: Span, at: number | null): Promise<void> {
    const asked = `${span}/${at}`;
    const changed = asked !== this.#asked;
    this.#asked = asked;
    if (changed) this.loading = true;
    const to = at ?? clock.city;
    try {
      const found = await api.series(this.id, to - SPAN_MS[span], to, POINTS);
      if (this.#asked !== asked) return;
      this.series = found;
      this.failed = false;
    } catch {
      if (this.#asked === asked) this.failed = true;
    } finally {
      if (this.#asked === asked) this.loading = false;
      this.#loadedAt = Date.now();
    }
  }

  /** The device spoke: load again soon, but no more often than the resolution can show. */
  freshen(span: Span, at: number | null): void {
    if (at !== null || this.#timer) return;
    const wait = Math.max(0, this.#loadedAt + AGAIN_MS[this.series?.resolution ?? "raw"] - Date.now());
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.load(span, at);
    }, wait);
  }

  stop(): void {
    if (this.#timer) clearTimeout(this.#timer);
  }
}
