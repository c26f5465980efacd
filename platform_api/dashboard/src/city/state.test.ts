import { expect, test } from "vitest";
import { stateOf } from "./state";

const alarm = (condition: string, severity: 1 | 2 | 3) => ({ condition, severity });

test("the worst alarm colours a device, and silence only when nothing else is wrong", () => {
  expect(stateOf([alarm("silent", 3), alarm("stuck:voltage", 1)], true)).toBe("info");
  expect(stateOf([alarm("spike:voltage", 2), alarm("out_of_range:voltage", 3)], true)).toBe("critical");
  expect(stateOf([alarm("silent", 2)], true)).toBe("silent");
});

test("without alarms a device is well once it was heard", () => {
  expect(stateOf([], true)).toBe("ok");
  expect(stateOf([], false)).toBe("unknown");
});
