"""The fleet that a benchmark plays: outboxes with devices of the shipped kinds, put into the registry by COPY.

Devices are numbered through: outbox `i` has devices `i * size + 1` to `(i + 1) * size`, which is also their device_id.
Within an outbox kinds follow one another in the simulator's proportions. A name is found from its number and back.
"""

import random
from dataclasses import dataclass
from functools import cached_property

import psycopg

from contracts import topics
from contracts.topics import Channel
from firmware_sim.fleet import MIX, PREFIX

OUTBOXES_A_TOWN = 50
KINDS = tuple(MIX)


@dataclass(frozen=True)
class Fleet:
    """So many outboxes with so many devices each."""

    outboxes: int
    size: int  # devices of an outbox
    seed: int = 1

    @cached_property
    def counts(self) -> dict[str, int]:
        """Devices of each kind in an outbox; lamps take the rest, and no kind is missing where there is room."""
        found = {kind: round(self.size * share) or int(self.size > 3) for kind, share in MIX.items()}
        found["streetlight"] += self.size - sum(found.values())
        return found

    @property
    def devices(self) -> int:
        return self.outboxes * self.size

    def place(self, kind: str) -> int:
        """Where a kind begins among an outbox's devices."""
        return sum(self.counts[name] for name in KINDS[: KINDS.index(kind)])

    def names(self, outbox: int, kind: str) -> list[str]:
        """Names of an outbox's devices of a kind."""
        first = outbox * self.size + self.place(kind) + 1
        return [f"{PREFIX[kind]}-{number:07d}" for number in range(first, first + self.counts[kind])]

    def agent(self, outbox: int) -> tuple[str, str]:
        """(municipality, agent) of an outbox."""
        return f"{41000 + outbox // OUTBOXES_A_TOWN}", f"pole-{outbox:05d}"

    def topic(self, outbox: int, channel: Channel) -> str:
        return topics.of_agent(*self.agent(outbox), channel)

    @cached_property
    def epochs(self) -> list[int]:
        """One epoch an outbox, 63 bits."""
        dice = random.Random(f"epochs {self.seed}")
        return [dice.getrandbits(63) for _ in range(self.outboxes)]

    @cached_property
    def nonces(self) -> list[int]:
        dice = random.Random(f"nonces {self.seed}")
        return [dice.getrandbits(32) for _ in range(self.outboxes)]


def device_id(name: str) -> int:
    """The number that a name carries."""
    return int(name[3:])


def register(connection: psycopg.Connection, fleet: Fleet) -> None:
    """Put municipalities, agents and devices into the registry, in one transaction."""
    towns = sorted({fleet.agent(outbox)[0] for outbox in range(fleet.outboxes)})
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy("COPY municipality (code, name_ko, name_en) FROM STDIN") as rows:
            rows.write("".join(f"{code}\tBench {code}\tBench {code}\n" for code in towns))
        with cursor.copy("COPY agent (agent_id, municipality, name) FROM STDIN") as rows:
            for outbox in range(fleet.outboxes):
                town, agent = fleet.agent(outbox)
                rows.write(f"{outbox + 1}\t{town}\t{agent}\n")
        with cursor.copy("COPY device (device_id, municipality, name, kind, agent_id) FROM STDIN") as rows:
            for outbox in range(fleet.outboxes):
                town, number, lines = fleet.agent(outbox)[0], outbox * fleet.size, []
                for kind in KINDS:
                    for name in fleet.names(outbox, kind):
                        number += 1
                        lines.append(f"{number}\t{town}\t{name}\t{kind}\t{outbox + 1}\n")
                rows.write("".join(lines))
        for table, key in (("agent", "agent_id"), ("device", "device_id")):
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', '{key}'), max({key})) FROM {table}".encode()
            )
    connection.execute("ANALYZE agent, device")
