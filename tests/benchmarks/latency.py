"""Milliseconds from a sensor to the committed row and to the live stream, at 10,000 observations a second.

Why it is hot: an operator watches the map, and what it shows is as old as this path is long. Most of the load comes
from the load's outboxes, which seal a batch a second as agents do; beside them run some real agents, `dure edge` with
simulated devices. Two clocks: from the sealed batch to COMMIT, as ingest itself counts it, and from the hand-over of an
observation to its arrival on the live channel, which includes the wait for its batch to be sealed (at most a second).
The ceiling: a bare publish and delivery on the same broker, and a bare INSERT and COMMIT on the same database.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from broker.registry import Credentials, read_credentials
from contracts import topics
from contracts.topics import Channel
from firmware_sim import fleet as fleets
from firmware_sim.clock import group_ms_for
from ingest_service.store.registration import Manifest, register
from tests.benchmarks import check, stack
from tests.benchmarks.ingest import histogram, quantile
from tests.benchmarks.load import Plan, make
from tests.benchmarks.report import Case, Wrong, case, progress
from tests.database_fixture import ROOT, Database
from tests.waiting import wait_for

SEAL_S = 1.0  # edge.settings: an observation waits no longer for its batch to fill
SIM_TOWN = "41280"
READY_S, ENCODED_A_S = 8.0, 50_000.0  # until the first batch of a load: for its encoding and its process to start
SIM_GROUP_MS = group_ms_for(1.0)  # the simulator hands over what belongs to a group when the group's time is over
BARE_ROUNDS = 300
SHARES = (0.5, 0.99)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=float, default=10_000, help="observations a second (default: %(default)s)")
    parser.add_argument("--outboxes", type=int, default=200, help="of the load (default: %(default)s)")
    parser.add_argument("--devices", type=int, default=100_000, help="of the load (default: %(default)s)")
    parser.add_argument("--agents", type=int, default=4, help="real agents beside it (default: %(default)s)")
    parser.add_argument("--agent-devices", type=int, default=200, help="of each real agent (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="measured (default: %(default)s)")
    parser.add_argument("--broker", choices=sorted(stack.BROKERS), default="nats", help="default: %(default)s")


def run(options: argparse.Namespace) -> list[Case]:
    made = fleets.make(options.agents * options.agent_devices, options.agents, 1, [SIM_TOWN])
    agents = [(row["municipality"], row["agent"]) for row in made["agents"]]
    a_batch = max(1, round(SEAL_S * options.rate / options.outboxes))
    plan = Plan(
        outboxes=options.outboxes,
        size=max(4, options.devices // options.outboxes),
        batches=max(1, round(options.seconds / SEAL_S)),
        observations=a_batch,
        rate=options.rate,
        start_ms=0,
    )
    of = f"{options.rate:,.0f}/s of {plan.outboxes} outboxes, {a_batch} a batch; {options.agents} real agents"
    with ExitStack() as open_:
        place = open_.enter_context(stack.folder())
        server = open_.enter_context(stack.postgres(place))
        broker = open_.enter_context(stack.broker(options.broker, place, agents))
        database = open_.enter_context(stack.schema(server, plan.fleet))
        with database.connect() as connection:
            register(connection, msgspec.convert(made, Manifest))
        ceiling = bare(broker, database)
        open_.enter_context(stack.ingest(database, broker, place))
        live = open_.enter_context(listening(broker))
        open_.enter_context(agents_of(made, broker, place))
        start_s = time.time() + READY_S + plan.total / ENCODED_A_S
        plan = msgspec.structs.replace(plan, start_ms=int(start_s * 1000))
        load = make(place / "load", plan)
        progress(f"sending {plan.total:,} observations")
        sending = stack.Sending(place / "load", broker, "--on-time")
        try:
            last = sending.finish(3 * options.seconds + 120)
        finally:
            sending.stop()
        if last["late_ms"]:
            raise Wrong(f"the load began {last['late_ms']} ms late, so its observations are not of now")
        if not last["finished"]:
            raise Wrong(f"only {last['acked']} of {last['sealed']} batches were committed")
        counted: dict[str, Any] = {}

        def told() -> bool:  # ingest tells its counters once a second
            counted.update(histogram(database.rows("SELECT counters FROM ingest_worker")[0][0]))
            return sum(counted["counts"]) >= plan.total

        wait_for(told, 30)
        sent = check.of_bodies((body for _, body in load.bodies()), plan.fleet.devices)
        check.same(sent, check.of_tables(database, plan.fleet.devices))
        heard = {"load": live.load, "dure edge": live.agents}
    return _cases(of, ceiling, counted, heard, last["resent"])


def _cases(
    of: str, ceiling: dict[str, list[float]], counted: dict[str, Any], heard: dict[str, list[int]], resent: int
) -> list[Case]:
    cases = []
    for name, found in ceiling.items():
        cases += [case(f"{name}, p{100 * q:.0f}", _at(found, q), "ms", of=f"{len(found)} times") for q in SHARES]
    for q in SHARES:
        limit = ("bare delivery + commit", sum(_at(found, q) for found in ceiling.values()))
        cases.append(case(f"sealed to committed, p{100 * q:.0f}", quantile([counted], q), "ms", against=limit, of=of))
    for name, values in heard.items():
        if not values:
            raise Wrong(f"nothing of the {name} was heard on the live channel")
        words = f"{len(values):,} heard"
        cases += [
            case(f"sensor to live stream, {name}, p{100 * q:.0f}", _at(values, q), "ms", of=words) for q in SHARES
        ]
    cases.append(case("batches sent again", resent, "batches"))
    return cases


def _at(values: Any, share: float) -> float:
    return float(np.quantile(values, share))


def bare(broker: stack.Broker, database: Database) -> dict[str, list[float]]:
    """Milliseconds of a message from publisher to subscriber, and of an INSERT with COMMIT, each alone."""
    came = threading.Event()
    with client(broker.account, "bare", ["bench/bare"], lambda *_: came.set()) as connected:
        delivered = []
        for _ in range(BARE_ROUNDS):
            came.clear()
            began = time.perf_counter()
            connected.publish("bench/bare", b"x" * 1300)
            if not came.wait(10):
                raise Wrong("a bare message did not arrive")
            delivered.append(1000 * (time.perf_counter() - began))
    committed = []
    with database.connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE bare (at timestamptz, value float4)")
        for _ in range(BARE_ROUNDS):
            began = time.perf_counter()
            connection.execute("INSERT INTO bare VALUES (now(), 1)")
            committed.append(1000 * (time.perf_counter() - began))
        connection.execute("DROP TABLE bare")
    return {"bare delivery": delivered, "bare commit": committed}


@contextmanager
def client(account: Credentials, name: str, filters: list[str], on_message: Any) -> Iterator[mqtt.Client]:
    """A subscriber whose messages are handed over in its own thread."""
    ready = threading.Event()
    found = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"{account.client_id}-{name}", protocol=mqtt.MQTTv311)
    found.username_pw_set(account.username, account.password)
    found.on_connect = lambda one, *_: one.subscribe([(text, 0) for text in filters])
    found.on_subscribe = lambda *_: ready.set()
    found.on_message = on_message
    found.connect(account.host, account.port)
    found.loop_start()
    try:
        if not ready.wait(20):
            raise RuntimeError("the broker did not let a subscriber in")
        yield found
    finally:
        found.disconnect()
        found.loop_stop()


class _Group(msgspec.Struct):
    observed_at: list[int]


class _Live(msgspec.Struct):
    observations: dict[str, _Group]


class Heard:
    """What the live channel brought, as milliseconds since each observation was handed over."""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(_Live).decode
        self.load: list[int] = []
        self.agents: list[int] = []

    def take(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        now_ms = time.time_ns() // 1_000_000
        simulated = topics.parse(message.topic).municipality == SIM_TOWN
        for group in self._decode(message.payload).observations.values():
            if simulated:
                due = [(at // SIM_GROUP_MS + 1) * SIM_GROUP_MS for at in group.observed_at]
                self.agents.extend([now_ms - at for at in due])
            else:
                self.load.extend([now_ms - at for at in group.observed_at])


@contextmanager
def listening(broker: stack.Broker) -> Iterator[Heard]:
    heard = Heard()
    with client(read_credentials(broker.file_of("api")), "live", topics.filters(Channel.LIVE), heard.take):
        yield heard


@contextmanager
def agents_of(made: dict[str, Any], broker: stack.Broker, place: Path) -> Iterator[None]:
    """`dure edge` for each agent of a simulated fleet, all fed by one simulator whose clock is the wall's."""
    folder = place / "agents"
    folder.mkdir()
    fleets.save(made, folder / "fleet.json")
    running = []
    log = (folder / "log").open("wb")

    def start(*arguments: str) -> None:
        running.append(
            subprocess.Popen(
                [sys.executable, str(ROOT / "dure.py"), *arguments],
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        )

    try:
        # A start in the future, and the simulator's clock is the wall clock from then on: it never passes it.
        start_ms = str(time.time_ns() // 1_000_000 + 5000)
        start(
            *("sim", "serve", "--fleet", "fleet.json", "--socket", "sim.sock", "--state", "sim"),
            *("--speed", "1", "--start", start_ms, "--then-realtime"),
        )
        wait_for((folder / "sim.sock").exists, 30)
        for row in made["agents"]:
            name = f"{row['municipality']}.{row['agent']}"
            settings = {
                "municipality": row["municipality"], "agent": row["agent"], "driver": "sim", "source": "sim.sock",
                "broker_file": str(broker.file_of(name)), "outbox": f"{name}.db",
            }  # fmt: skip
            lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
            (folder / f"{name}.toml").write_text("\n".join(["[edge]", *lines, ""]))
            start("edge", "--config", f"{name}.toml")
        yield
        if ended := [one.args for one in running if one.poll() is not None]:
            raise Wrong(f"ended too early: {ended[0]}: {(folder / 'log').read_text()[-2000:]}")
    finally:
        for one in reversed(running):
            stack.end(one)
        log.close()
