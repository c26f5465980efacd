import { expect, test } from "vitest";
import { parse } from "./sse";

test("a message is delivered only when its blank line has come", () => {
  const first = parse("event: alarms\ndata: [1");
  expect(first.messages).toEqual([]);
  const second = parse(`${first.rest}]\n\nevent: hello\n`);
  expect(second.messages).toEqual([{ event: "alarms", data: "[1]" }]);
  expect(second.rest).toBe("event: hello\n");
});

test("comments keep the connection alive and deliver nothing", () => {
  expect(parse(": keep-alive\n\n")).toEqual({ messages: [], rest: "" });
});

test("several data lines are one text, whatever the line ends", () => {
  expect(parse("data: a\r\ndata: b\r\n\r\n").messages).toEqual([{ event: "message", data: "a\nb" }]);
});
