/**
 * Asks again when something changed, but no more often than every `everyMs`, and never lets a stream of changes put the
 * asking off: the first change starts the wait, those that come meanwhile are answered by the same asking.
 */
export class Pace {
  #timer: ReturnType<typeof setTimeout> | null = null;
  #askedAt = 0;

  constructor(
    private readonly ask: () => void,
    private readonly everyMs: number,
    private readonly leastMs = 150,
  ) {}

  /** At once; what was waiting is answered by it. */
  now(): void {
    this.stop();
    this.#askedAt = Date.now();
    this.ask();
  }

  soon(): void {
    this.#timer ??= setTimeout(() => this.now(), Math.max(this.leastMs, this.#askedAt + this.everyMs - Date.now()));
  }

  stop(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
