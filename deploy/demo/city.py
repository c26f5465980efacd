"""The demo's whole story: prepare, start, play, drain, account, stop.

Everything that matters lies in the folder (database, outboxes, the simulator's clock), so the story can be cut off
anywhere and begun again. Services are started as early as what they need is there. At the end the clock is frozen
first, then the agents end by themselves once all they hold is committed, and only when ingest has stopped too does the
account count: nothing can move any more.
"""

import json
import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from contracts.log import log
from deploy.demo import account, processes
from deploy.demo.line import Line, describe
from deploy.demo.processes import StartError
from deploy.demo.services import READY_S, STOP_S, Services, step
from deploy.demo.state import Account, Folder
from deploy.demo.watch import Api, Watch

TICK_S = 0.1
NO_PROGRESS_S = 60.0  # so long without a commit, and draining is given up


class AtOnce(BaseException):
    """Asked to stop a second time."""


class City:
    """One demo, from its first line to its exit code."""

    def __init__(self, folder: Folder, services: Services, asked_to_stop: Callable[[], bool]) -> None:
        self.folder = folder
        self.options = services.options
        self._services = services
        self._asked_to_stop = asked_to_stop
        self._line = Line()

    def run(self) -> int:
        """The story; the exit code."""
        begun_s = time.monotonic()
        self._say_what()
        self._clean_up()
        self._services.start_platform()
        accounts = self.folder.accounts()
        time_zone = self.folder.fleet()["municipalities"][0].get("time_zone", "UTC")
        watch = Watch(Api(self._services.url, accounts[0]), self._services.sim_state, time_zone)
        watch.look()
        self._services.start_city()
        self._announce(accounts, time.monotonic() - begun_s)
        before = watch.histograms(), watch.count("committed")
        played_s = time.monotonic()
        self._play(watch, played_s)
        drained = self._drain(watch)
        seconds = time.monotonic() - played_s
        self._line.end()
        return self._close(watch, before, seconds, drained)

    # Starting.

    def _say_what(self) -> None:
        what = self.folder.begun.configuration
        playing = (
            f"recording {Path(what.recording).name}"
            if what.recording
            else f"{what.devices:,} devices behind {what.agents} agents"
        )
        print(f"{playing}, at {what.speed:g}x; state in {_shown(self.folder.path)}")
        if not self.folder.is_new:
            print(f"going on with what was begun {_when(self.folder.begun.begun_at)} (--fresh begins anew)")

    def _clean_up(self) -> None:
        """End what a killed demo left running; clear the folder when this one begins anew."""
        left = processes.end_leftovers(self._services.record)
        if left:
            log("leftovers_ended", level="warning", processes=left, reason="an earlier demo was killed")
        self.folder.clear()

    def _announce(self, accounts: list[Account], seconds: float) -> None:
        now = {
            "url": self._services.url,
            "pid": os.getpid(),
            "accounts": accounts,
            "database_url": self._services.database_url,
            "schema": self.folder.begun.schema,
        }
        self.folder.write("now.json", msgspec.json.format(msgspec.json.encode(now), indent=1))
        if not self.options.headless:
            width = max(len(one.name) for one in accounts)
            print(f"\n  The city:  {self._services.url}\n  Sign in:")
            for one in accounts:
                sees = f"operator of {one.municipality}" if one.municipality else f"{one.role}, sees everything"
                print(f"    {one.name:<{width}}  {one.password}   {sees}")
            print("  Ctrl-C stops in order and prints the account.\n")
        print(f"ready url={self._services.url} seconds={seconds:.1f} state={self.folder.path}", flush=True)

    # Running.

    def _play(self, watch: Watch, begun_s: float) -> None:
        """Until asked to stop, the time is over, or a recording has ended and everything of it is committed."""
        until_s = begun_s + self.options.for_s if self.options.for_s is not None else float("inf")
        recording = self.folder.begun.configuration.recording is not None
        self._line.due(begun_s)
        while not self._asked_to_stop() and time.monotonic() < until_s:
            self._services.tend()
            if recording and self.options.for_s is None and all(agent.ended for agent in self._services.agents):
                return
            if self._line.due(time.monotonic()):
                watch.look()
                self._line.show(describe(watch))
            time.sleep(TICK_S)

    def _drain(self, watch: Watch) -> bool:
        """Freeze the clock and wait until every agent has ended, which it does when all it had is committed."""
        self._line.end()
        self._services.sample_cpu()
        print("stopping: the clock is frozen, agents send what they hold", flush=True)
        self._freeze()
        progress, since_s, next_look_s = -1, time.monotonic(), 0.0
        while not all(agent.ended for agent in self._services.agents):
            self._services.tend()
            now_s = time.monotonic()
            if now_s >= next_look_s:
                next_look_s = now_s + 1.0
                watch.look()
                done = watch.count("received") + sum(agent.ended for agent in self._services.agents)
                if done != progress:
                    progress, since_s = done, now_s
            if self._line.due(now_s):
                self._line.show(describe(watch))
            if now_s - since_s > NO_PROGRESS_S:
                left = [agent.name for agent in self._services.agents if not agent.ended]
                print(
                    f"\ngiving up: {NO_PROGRESS_S:.0f} s without progress; not done: {', '.join(left)}. Their outboxes "
                    "keep what they hold, and the same command goes on",
                    flush=True,
                )
                return False
            time.sleep(TICK_S)
        return True

    def _freeze(self) -> None:
        """Freeze the simulator's clock; from now on it is only started again to hand out what was numbered."""
        sim = self._services.named("sim")
        give_up_s = time.monotonic() + READY_S
        while not sim.ended:
            asking = self._services.command("sim-stop", "sim", "stop", "--state", str(self._services.sim_state))
            while asking.exit_code is None:
                self._services.tend()
                time.sleep(processes.PAUSE_S)
            if asking.exit_code == 0:
                sim.arguments.append("--finish")
                return
            self._services.tend()
            if time.monotonic() > give_up_s:
                raise StartError(f"cannot freeze the simulator's clock:\n{asking.last_words()}")
            time.sleep(0.5)

    # The end.

    def _close(self, watch: Watch, before: tuple[dict[str, list[int]], int], seconds: float, drained: bool) -> int:
        """Stop ingest, count, stop the rest; the exit code."""
        self._services.sample_cpu()
        self._services.stopping = True
        for child in self._services.agents:  # those that were given up
            child.ask_to_stop()
        for child in (*self._services.agents, self._services.named("sim"), self._services.named("ingest")):
            child.stop(STOP_S)
        with step("counting"):
            counted = self._said("account", "account")
            generated = self._said("sim-account", "sim", "account", "--state", str(self._services.sim_state))
            figures = account.report(
                generated=generated,
                counted=counted,
                latency_before=before[0],
                committed_before=before[1],
                seconds=seconds,
                labels=self._labels(),
                alarms=self._alarms(watch),
                drained=drained,
            )
        begun = self.folder.begun
        figures["continued"] = not self.folder.is_new
        figures["begun_at"] = begun.begun_at
        figures["configuration"] = msgspec.to_builtins(begun.configuration)
        cpu_s = self._services.cpu_s
        figures["processes"] = {
            child.name: {"starts": child.starts, "cpu_s": cpu_s.get(child.name)} for child in self._services.all
        }
        self._services.stop_in_order()
        print(account.text(figures, continued_since=None if self.folder.is_new else _when(begun.begun_at)), flush=True)
        if self.options.report:
            self.options.report.parent.mkdir(parents=True, exist_ok=True)
            self.options.report.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            print(f"written to {self.options.report}", flush=True)
        if not account.good(figures):
            print("NOT good: see lost, committed twice, and whether everything was drained", flush=True)
            return 1
        return 0

    # Parts.

    def _said(self, name: str, *arguments: str) -> dict[str, Any]:
        """The JSON that a command prints."""
        found: dict[str, Any] = json.loads(self._services.finish(self._services.command(name, *arguments)))
        return found

    def _labels(self) -> list[dict[str, Any]]:
        file = self._services.sim_state / "labels.json"
        found: list[dict[str, Any]] = json.loads(file.read_bytes()) if file.exists() else []
        return found

    def _alarms(self, watch: Watch) -> list[dict[str, Any]]:
        try:
            return watch.alarms()
        except OSError as error:
            log("alarms_unknown", level="warning", reason=error)
            return []


def _when(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000).astimezone():%Y-%m-%d %H:%M}"


def _shown(path: Path) -> str:
    """Relative to where the user stands, when that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
