import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Pace } from "./pace";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("a stream of changes neither floods nor starves", () => {
  let asked = 0;
  const pace = new Pace(() => (asked += 1), 1000);
  pace.now();
  for (let ms = 0; ms < 10_000; ms += 100) {
    pace.soon();
    vi.advanceTimersByTime(100);
  }
  expect(asked).toBeGreaterThan(8);
  expect(asked).toBeLessThan(13);
});

test("what has stopped asks no more", () => {
  let asked = 0;
  const pace = new Pace(() => (asked += 1), 1000);
  pace.soon();
  pace.stop();
  vi.advanceTimersByTime(5000);
  expect(asked).toBe(0);
});
