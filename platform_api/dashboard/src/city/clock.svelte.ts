/**
 * Two clocks: the wall's, and the city's, which is the newest observation seen. They differ while a recording
 * or an accelerated day plays; what the city says of itself is then read relative to the city's clock.
 */
const AGREE_MS = 180_000;

class Clock {
  wall = $state(Date.now());
  newest = $state(0);

  start(): () => void {
    const timer = setInterval(() => (this.wall = Date.now()), 1000);
    return () => clearInterval(timer);
  }

  observed(atMs: number): void {
    if (atMs > this.newest) this.newest = atMs;
  }

  behindMs = $derived(this.newest && this.wall - this.newest > AGREE_MS ? this.wall - this.newest : 0);
  city = $derived(this.behindMs ? this.newest : this.wall);
}

export const clock = new Clock();
