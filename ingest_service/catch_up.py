"""Detection follows the journal in a thread of its own while storage goes on.

Promise: detectors see every flush once and in the order stored. The findings of flushes that were stored before they
were examined become alarms with the first flush stored afterwards, once, whatever is killed in between: the journal
says of each flush whether its findings are alarms.
"""

import contextlib
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from contracts.log import log
from contracts.profiles import Profile
from ingest_service.back_off import next_retry_s
from ingest_service.columns import Block
from ingest_service.detection import journal
from ingest_service.detection.findings import Finding
from ingest_service.detection.fleet import Fleet
from ingest_service.store.connection import DatabaseError
from ingest_service.store.store import Store

WAITING_FLUSHES = 16  # examined, and not yet taken by the newest state
PAUSE_S = 0.02

Late = tuple[int, list[Finding]]  # flush, what was found in it after it was stored


class CatchUp:
    """From what the saves have seen (shard -> flush) to the newest entry of the journal."""

    def __init__(
        self,
        store: Store,
        profiles: Mapping[str, Profile],
        fleet: Fleet,
        slot_of: Callable[[str, int], int | None],
        agent_index: Callable[[int], int | None],
        seen: Mapping[int, int],
    ) -> None:
        self.lock = threading.Lock()  # held while the fleet or the registry is worked on
        self._store, self._profiles, self._fleet = store, profiles, fleet
        self._slot_of, self._agent_index = slot_of, agent_index
        self._upto = {shard: seen.get(shard, 0) for shard in store.shards}
        self._late: deque[Late] = deque()
        self._blocks: deque[list[Block]] = deque()
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._flushes, self._began = 0, time.monotonic()
        self._thread = threading.Thread(target=self._run, name="catch_up", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ends_within(self, seconds: float) -> bool:
        """Whether it has come to the end by then."""
        self._thread.join(seconds)
        return self.at_the_end

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def at_the_end(self) -> bool:
        """Whether everything was examined that was stored when the journal was last read; raises what went wrong."""
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    def finish(self) -> None:
        """Examine what was stored since, by the thread that stores; raises DatabaseError."""
        while self._pass():
            pass
        log("detection.caught_up", flushes=self._flushes, seconds=round(time.monotonic() - self._began, 1))

    def late(self) -> list[Late]:
        """Findings of flushes whose findings are no alarms yet; told once."""
        return [self._late.popleft() for _ in range(len(self._late))]

    def blocks(self) -> list[list[Block]]:
        """What was examined since the last look, a flush an entry; told once."""
        return [self._blocks.popleft() for _ in range(len(self._blocks))]

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                if not self._pass():
                    return
                failures = 0
            except DatabaseError:
                failures += 1
                self._stopping.wait(next_retry_s(failures, random.random()))
            except BaseException as error:  # told by `at_the_end`
                self._error = error
                return

    def _pass(self) -> bool:
        """Examine what the journal holds now; whether there was anything."""
        before = self._flushes
        with contextlib.closing(self._store.journal(self._upto)) as flushes:
            for number, examined, entries in flushes:
                with self.lock:
                    blocks, clocks = journal.read_flush(entries, self._profiles, self._slot_of, self._agent_index)
                    findings = self._fleet.examine(blocks, clocks)
                    self._fleet.keep()
                self._flushes += 1
                self._upto = {shard: max(seen, number) for shard, seen in self._upto.items()}
                if not examined:
                    self._late.append((number, findings))
                self._blocks.append(blocks)
                while len(self._blocks) >= WAITING_FLUSHES and threading.current_thread() is self._thread:
                    if self._stopping.wait(PAUSE_S):
                        return False
        return self._flushes > before
