/**
 * Server-sent events over `fetch`, so that keep-alive comments, refusals and half-dead connections are seen
 * (an EventSource hides all three). `parse` is pure; `follow` reads one connection until it ends or goes quiet.
 */
export interface Message {
  event: string;
  data: string;
}

/** Splits a growing text into whole messages and the rest that still lacks its blank line. */
export function parse(text: string): { messages: Message[]; rest: string } {
  const blocks = text.replace(/\r\n?/g, "\n").split("\n\n");
  const rest = blocks.pop() ?? "";
  const messages: Message[] = [];
  for (const block of blocks) {
    let event = "message";
    const data: string[] = [];
    for (const line of block.split("\n")) {
      if (line.startsWith("event:")) event = line.slice(6).trim();
      else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
    }
    if (data.length) messages.push({ event, data: data.join("\n") });
  }
  return { messages, rest };
}

/** Reads `url` until it ends, fails, or says nothing (not even a comment) for `quietMs`. */
export async function follow(url: string, quietMs: number, signal: AbortSignal, deliver: (message: Message) => void): Promise<void> {
  const stop = new AbortController();
  const abort = () => stop.abort();
  signal.addEventListener("abort", abort);
  let timer = setTimeout(abort, quietMs);
  try {
    const answer = await fetch(url, { credentials: "same-origin", headers: { Accept: "text/event-stream" }, signal: stop.signal });
    if (!answer.ok || !answer.body) throw new Error(`stream refused: ${answer.status}`);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(abort, quietMs);
      const parsed = parse(text + value);
      text = parsed.rest;
      parsed.messages.forEach(deliver);
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
    stop.abort();
  }
}
