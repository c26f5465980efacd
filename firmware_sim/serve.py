"""Serves a run to agents over a unix socket: each agent gets its own numbered stream from where it left off.

One coroutine a connection, each with its own position, waiting on its own socket: a slow or absent agent holds up
nobody. A first SIGTERM (or `dure sim stop`) freezes the clock; what is numbered by then is still handed out, then the
end, and when every agent has had its end the process leaves. The account is written here and computed in `run`.
"""

import asyncio
import os
import signal
import socket
from pathlib import Path

import msgspec

from contracts.log import log
from firmware_sim import run as runs
from firmware_sim.run import Played, Run
from firmware_sim.stream import Stream, line

ACCOUNT_EVERY_S = 0.5
CLOCK_EVERY_S = 0.9  # the protocol promises a line at least once a wall second
MAX_POLL_S, MIN_POLL_S = 0.25, 0.02
MAX_WRITE = 64 * 1024
MAX_PATH = 100  # sun_path holds 108 bytes


class Hello(msgspec.Struct):
    agent: str
    after: int


class Server:
    """The running source."""

    def __init__(self, run: Run, state: Path, played: Played, handed_over: dict[str, int]) -> None:
        self.run, self.state, self.played = run, state, played
        self.handed_over = handed_over
        self.ended: set[str] = set()
        self.done = asyncio.Event()
        self._clock_ms = 0
        self._labelled = -1
        self._connections: set[asyncio.Task[None]] = set()
        self.poll_s = min(MAX_POLL_S, max(MIN_POLL_S, run.group_ms / 1000 / (2 * max(run.speed or 1e9, 1.0))))

    @property
    def frozen(self) -> bool:
        return self.run.frozen_at_ms is not None

    def clock_ms(self) -> int:
        """The clock to which observations are due; never goes back, whatever the wall clock does."""
        self._clock_ms = max(self._clock_ms, self.run.now_ms(runs.wall_ms()))
        return self._clock_ms

    def freeze(self, why: str) -> None:
        """Stop the clock for good; the second time, leave."""
        if self.frozen:
            self.done.set()
            return
        self.run.frozen_at_ms = self.clock_ms()
        runs.save(self.state, self.run)
        self.write_account()
        log("clock frozen", why=why, clock_ms=self.run.frozen_at_ms)

    def write_account(self) -> None:
        clock_ms = self.clock_ms()
        account = self.played.account(clock_ms, self.handed_over, self.frozen)
        runs.replace(self.state / "account.json", msgspec.json.encode(account))
        labels = self.played.labels(clock_ms)
        if len(labels) != self._labelled:
            runs.replace(self.state / "labels.json", msgspec.json.format(msgspec.json.encode(labels), indent=1))
            self._labelled = len(labels)

    async def keep_account(self) -> None:
        """Write the account, end the run when its clock has ended, until all is handed over."""
        while not self.done.is_set():
            if not self.frozen and self.run.clock().ended(runs.wall_ms()):
                self.freeze("end of the run")
            self.write_account()
            if self.frozen and self.ended >= set(self.played.streams):
                self.done.set()
            await asyncio.sleep(ACCOUNT_EVERY_S)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One agent's connection, until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        writer.transport.set_write_buffer_limits(high=0)  # drain() returns when the kernel has everything
        name = ""
        try:
            hello = msgspec.json.decode(await reader.readline(), type=Hello)
            name = hello.agent
            if name not in self.played.streams:
                raise ValueError(f"cannot serve agent {name!r}: not in the fleet")
            log("agent connected", agent=name, after=hello.after)
            await self._hand_out(name, hello.after, writer)
        except (ValueError, msgspec.DecodeError) as error:
            log("agent refused", level="warning", agent=name, reason=error)
            writer.write(msgspec.json.encode({"error": str(error)}) + b"\n")
        except (ConnectionError, BrokenPipeError):
            log("agent gone", agent=name, after=self.handed_over.get(name, 0))
        finally:
            self._connections.discard(task)
            writer.close()

    async def _hand_out(self, name: str, after: int, writer: asyncio.StreamWriter) -> None:
        stream: Stream = self.played.streams[name]
        position = stream.seek(after, self.clock_ms())
        loop = asyncio.get_running_loop()
        said_s = -CLOCK_EVERY_S
        while True:
            frozen, clock_ms = self.frozen, self.clock_ms()
            lines = bytearray()
            while len(lines) < MAX_WRITE and (found := stream.read(position, clock_ms)) is not None:
                observations, count, reached_ms = found
                lines += line(position.after - count + 1, reached_ms, observations)
            if not lines and frozen:
                writer.write(msgspec.json.encode({"end": True, "last": position.after}) + b"\n")
                await writer.drain()
                self.ended.add(name)
                log("agent has its end", agent=name, last=position.after)
                return
            if not lines and loop.time() - said_s >= CLOCK_EVERY_S:
                lines += msgspec.json.encode({"clock_ms": clock_ms}) + b"\n"
            if lines:
                writer.write(lines)
                await writer.drain()
                self.handed_over[name] = max(self.handed_over.get(name, 0), position.after)
                said_s = loop.time()
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(self.poll_s)

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The control socket: `stop` freezes, the answer tells the clock."""
        if (await reader.readline()).strip() == b"stop":
            if not self.frozen:
                self.freeze("asked to stop")
            writer.write(msgspec.json.encode({"frozen_at_ms": self.run.frozen_at_ms}) + b"\n")
            await writer.drain()
        writer.close()

    async def close(self) -> None:
        self.write_account()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


def listening(path: Path) -> socket.socket:
    """A bound unix socket, in the place of a dead one; paths too long for the kernel go through the folder's
    descriptor.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _address(path) as address:
        found.bind(address)
    path.chmod(0o600)
    return found


def ask_to_stop(state: Path) -> int:
    """Freeze the clock of the process that plays this folder: the instant it stopped at; raises RunError when none
    does.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
        asked.settimeout(30)
        try:
            with _address(state / "control.sock") as address:
                asked.connect(address)
        except OSError as error:
            raise runs.RunError(f"{state}: no simulator answers there: {error.strerror or error}") from None
        asked.sendall(b"stop\n")
        return int(msgspec.json.decode(asked.makefile("rb").readline())["frozen_at_ms"])


class _address:
    """A path as an address that fits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = -1

    def __enter__(self) -> str:
        if len(os.fsencode(self._path)) <= MAX_PATH:
            return str(self._path)
        self._folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._folder}/{self._path.name}"

    def __exit__(self, *_: object) -> None:
        if self._folder >= 0:
            os.close(self._folder)


async def serve(run: Run, state: Path, played: Played, handed_over: dict[str, int], agents_socket: Path) -> None:
    """Play until every agent has had its end, or a second signal."""
    server = Server(run, state, played, handed_over)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.freeze, signal.Signals(number).name)
    server.write_account()
    control = await asyncio.start_unix_server(server.control, sock=listening(state / "control.sock"))
    agents = await asyncio.start_unix_server(server.connected, sock=listening(agents_socket), limit=4096)
    print(f"ready socket={agents_socket} agents={len(played.streams)} clock_ms={server.clock_ms()}", flush=True)
    keeper = asyncio.create_task(server.keep_account())
    waiter = asyncio.create_task(server.done.wait())
    await asyncio.wait({keeper, waiter}, return_when=asyncio.FIRST_COMPLETED)
    if keeper.done():
        keeper.result()
    agents.close()
    control.close()
    await server.close()
    log("simulator leaves", generated=sum(stream.numbered(server.clock_ms()) for stream in played.streams.values()))
