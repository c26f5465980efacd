"""The processes of a replay: each has a share of the devices; what they found is joined.

Promise: an interruption ends them early and what they found until then is kept; a second one ends them at once.
A process that fails fails the replay, in the words of what went wrong.
"""

import multiprocessing
from collections.abc import Sequence
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import cast

from ingest_service.lifecycle.progress import Progress
from ingest_service.replay import worker
from ingest_service.replay.worker import Outcome, Task, Told

LOOK_S = 0.5


class Failed(RuntimeError):
    """A process could not do its share; the message says why."""


def run(tasks: Sequence[Task], progress: Progress) -> list[Outcome]:
    """Outcomes in the order of the tasks; incomplete ones after an interruption. Raises Failed."""
    context = multiprocessing.get_context("spawn")  # connections and threads of ours are not for children
    started: list[tuple[BaseProcess, Pipe]] = []
    try:
        for task in tasks:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=worker.main, args=(task, theirs), daemon=True)
            process.start()
            theirs.close()
            started.append((process, ours))
        return _listen(started, progress)
    finally:
        for child, pipe in started:
            if child.is_alive():
                child.kill()
            child.join()
            pipe.close()


def _listen(started: Sequence[tuple[BaseProcess, Pipe]], progress: Progress) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}
    reached_ms: dict[int, int] = {}
    open_pipes = {pipe: number for number, (_, pipe) in enumerate(started)}
    interrupted = False
    while open_pipes:
        try:
            for ready in wait(list(open_pipes), timeout=LOOK_S):
                number = open_pipes[cast(Pipe, ready)]
                told = _told(started[number])
                if isinstance(told, Outcome):
                    outcomes[number] = told
                    del open_pipes[cast(Pipe, ready)]
                elif isinstance(told, str):
                    raise Failed(told)
                else:
                    rows, reached_ms[number] = told
                    progress.add(rows, 0, at_ms=min(reached_ms.values()))
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            progress.say("interrupted: what was found so far is put together; once more ends at once")
            for process, _ in started:
                process.terminate()
    return [outcomes[number] for number in range(len(started))]


def _told(talker: tuple[BaseProcess, Pipe]) -> Told:
    process, pipe = talker
    try:
        told: Told = pipe.recv()
    except EOFError:
        process.join()
        return f"a process ended with {process.exitcode} before it was done"
    return told
