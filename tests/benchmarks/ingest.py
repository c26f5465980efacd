"""Observations a second from the broker's socket to COMMIT, exactly once, on the machine that also runs the rest.

Why it is hot: every observation of every municipality passes here, and a worker that falls behind makes a city's map
late. One `dure ingest` with all monitors of the shipped profiles; broker and a PostgreSQL that keeps what it confirms
(fsync, full_page_writes, synchronous_commit) beside it; alarms, newest state, rollup marks and journal written.

parts (--only, comma-separated):
  ceiling   \\copy of the same rows from a ready binary file, before and after
  batches   100 observations a message, as agents send them
  singles   one observation a message, beside what mosquitto_sub receives of the same messages, at QoS 0 and 1
  peers     what a user would pick instead: plain Python consumers, Node-RED, Telegraf
--soak 600 instead runs ten minutes at 80 % of the rate measured before (or at --rate), and looks at memory and latency.
--self-test breaks single rows of a small run and wants each break to be noticed.
"""

import argparse
import shutil
import statistics
import threading
import time
from pathlib import Path
from typing import Any

from contracts import profiles as kinds
from ingest_service.rollups import Roller
from ingest_service.settings import Database as Settings
from ingest_service.settings import Settings as Ingest
from ingest_service.store import rolling
from ingest_service.store.connection import connect
from ingest_service.store.partitions import HOUR_MS
from tests.benchmarks import ceiling, check, peers, stack, subscriber
from tests.benchmarks.load import Load, Plan, make
from tests.benchmarks.report import Case, Wrong, case, progress
from tests.database_fixture import Database, DatabaseProcess
from tests.waiting import wait_for

BATCHES = "dure, batches of 100"
PEER_S, SINGLES_S = 20.0, 20.0  # longest of one peer, and of single messages
SINGLES_GUESS = 60_000.0  # messages a second
PARTS = ("ceiling", "batches", "singles", "peers")
SOAK_SHARE = 0.8
START_S = 600.0  # longest wait for the first batch
READY_S, ENCODED_A_S = 40.0, 1e6  # until a load begins: ingest loads its registry, the load is encoded
GUESS = 150_000.0  # observations a second: how large a load is made for --seconds, and how fast its time passes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run (default: %(default)s)")
    parser.add_argument("--outboxes", type=int, default=5000, help="agents with an outbox (default: %(default)s)")
    parser.add_argument("--devices", type=int, default=1_000_000, help="devices of all agents (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measured run (default: %(default)s)")
    parser.add_argument("--in-flight", type=int, default=2000, help="most batches under way (default: %(default)s)")
    parser.add_argument("--broker", choices=sorted(stack.BROKERS), default="nats", help="default: %(default)s")
    parser.add_argument("--rate", type=float, default=0.0, help="observations a second; 0: as fast as it goes")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of [ingest], to see what it changes"
    )
    parser.add_argument("--soak", type=float, default=0.0, metavar="SECONDS", help="long run at a fixed rate")
    parser.add_argument("--self-test", action="store_true", help="prove that a wrong result is noticed")


def run(options: argparse.Namespace) -> list[Case]:
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(PARTS):
        raise SystemExit(f"--only {options.only}: no part {', '.join(sorted(unknown))}; known are {', '.join(PARTS)}")
    for given in options.set:
        if given.partition("=")[0] not in Ingest.__struct_fields__:
            raise SystemExit(f"--set {given}: no such setting; known are {', '.join(Ingest.__struct_fields__)}")
    with stack.folder() as place, stack.postgres(place) as server:
        if options.self_test:
            return self_test(options, place, server)
        if options.soak:
            return soak(options, place, server)
        cases: list[Case] = []
        if "batches" in chosen or "ceiling" in chosen:
            cases += batches(options, place, server, chosen)
        if "singles" in chosen:
            cases += singles(options, place, server)
        if "peers" in chosen:
            dure = next((item.value for item in cases if item.case == BATCHES), 0.0)
            load = _made(place / "load", _plan(options, 60_000 * options.seconds, 100, GUESS))
            cases += peers.run(load, options.broker, place, server, min(PEER_S, options.seconds), dure)
        return cases


def singles(options: argparse.Namespace, place: Path, server: DatabaseProcess) -> list[Case]:
    """Dure with an observation a message, between two runs of mosquitto_sub on the same messages, at QoS 0 and 1."""
    cases = []
    for qos in (0, 1):
        seconds = min(SINGLES_S, options.seconds)
        plan = _plan(options, SINGLES_GUESS * seconds, 1, SINGLES_GUESS, qos)
        load = _made(place / f"singles-{qos}", plan)
        before = subscriber.receive_rate(load, options.broker, place, seconds / 2)
        paced = argparse.Namespace(**{**vars(options), "seconds": seconds, "in_flight": 100_000})
        measured = measure(paced, place, server, load)
        after = subscriber.receive_rate(load, options.broker, place, seconds / 2)
        name, of = (
            f"dure, single observations, QoS {qos}",
            f"{plan.outboxes:,} outboxes, {plan.fleet.devices:,} devices",
        )
        found = _cases_of(name, measured, of)
        if before and after:
            limit = ("mosquitto_sub, mean", (before + after) / 2)
            found[0] = case(name, measured["rate"], "observations/s", against=limit, of=found[0].input)
            for when, rate in (("before", before), ("after", after)):
                cases.append(case(f"mosquitto_sub, QoS {qos}, {when}", rate, "messages/s"))
        cases += found
        shutil.rmtree(load.folder)
    return cases


def batches(options: argparse.Namespace, place: Path, server: DatabaseProcess, chosen: list[str]) -> list[Case]:
    """Dure with 100 observations a message, between two runs of the ceiling."""
    plan = _plan(options, options.seconds * (options.rate or GUESS), 100, options.rate or GUESS)
    load = _made(place / "load", plan)
    of = f"{plan.outboxes:,} outboxes, {plan.fleet.devices:,} devices, 100 a batch"
    rows = ceiling.Rows(load, place / "rows", server, most=3_000_000) if "ceiling" in chosen else None
    copies = []
    if rows:
        copies.append(rows.copy_rate(server))
        progress(f"\\copy before: {copies[0][0]:,.0f} rows/s")
    cases = []
    if "batches" in chosen:
        cases += _cases_of(BATCHES, measure(options, place, server, load), of)
    if rows:
        copies.append(rows.copy_rate(server))
        progress(f"\\copy after: {copies[1][0]:,.0f} rows/s")
        rate, cpu_us = (statistics.mean(found) for found in zip(*copies, strict=True))
        limits = {"observations/s": rate, "CPU us/observation": cpu_us}
        cases = [
            *(
                case(
                    f"\\copy of the same rows, {when}",
                    copied,
                    "rows/s",
                    of=f"{rows.count:,} rows; {us:.2f} CPU us each",
                )
                for when, (copied, us) in zip(("before", "after"), copies, strict=True)
            ),
            *(
                case(item.case, item.value, item.unit, against=("\\copy, mean", limits[item.unit]), of=item.input)
                if item.unit in limits
                else item
                for item in cases
            ),
        ]
    return cases


def measure(
    options: argparse.Namespace, place: Path, server: DatabaseProcess, load: Load, **more: Any
) -> dict[str, Any]:
    """Send a load through broker and ingest into a fresh schema, and check every row; what was measured."""
    plan = load.plan
    settings: dict[str, Any] = {"qos": plan.qos} | dict(given.split("=", 1) for given in options.set)
    with (
        stack.broker(options.broker, place) as broker,
        stack.schema(server, plan.fleet) as database,
        stack.ingest(database, broker, place, **settings) as ingest,
    ):
        progress("ingest is ready; sending")
        pace = ("--on-time",) if options.rate else ("--in-flight", more.get("in_flight", options.in_flight))
        sending = stack.Sending(place / load.folder.name, broker, *pace, "--seconds", options.seconds)
        costs = stack.Costs(
            {
                "ingest": ingest.pid,
                "postgres": server.postmaster,
                "broker": broker.process.pid,
                "outboxes": sending.process.pid,
            },
            watch="ingest",
        )
        try:
            wait_for(lambda: sending.lines or sending.process.poll() is not None, START_S)
            costs.rss_mb.clear()  # what was sampled before the first batch
            last = _follow(sending, plan, options.seconds)
            used = costs.stop()
            used["outboxes"] = last["cpu_s"]
        finally:
            sending.stop()
        sealed, seconds = last["sealed"], last["s"]
        if not last["finished"]:
            raise Wrong(f"only {last['acked']} of {sealed} batches were committed")
        counted = database.rows("SELECT counters FROM ingest_worker")
        latency = [histogram(counted[0][0])] if counted else []
        progress(f"checking {sealed * plan.observations:,} observations")
        sent = check.of_bodies((body for _, body in load.bodies(sealed)), plan.fleet.devices)
        check.same(sent, check.of_tables(database, plan.fleet.devices))
        breaks = check.prove(database, sent, plan.fleet.devices) if options.self_test else []
        account = database.rows(
            "SELECT sum(received), sum(committed), sum(duplicate), sum(out_of_order), sum(quarantined), sum(lost) "
            "FROM cursor"
        )[0]
        if account[1] != check.total(sent) or account[4] or account[5]:
            raise Wrong(f"the account says {account}, {check.total(sent)} were sent")
        return {
            "observations": sealed * plan.observations,
            "seconds": seconds,
            "rate": sealed * plan.observations / seconds,
            "cpu": used,
            "rss_mb": costs.rss_mb,
            "latency": latency,
            "breaks": breaks,
            "resent": last["resent"],
            "alarms": database.rows("SELECT count(*) FROM alarm")[0][0],
            "rollup_s": _roll_up(database, server) if options.soak or options.self_test else 0.0,
            "second_by_second": [
                (b["acked"] - a["acked"]) * plan.observations
                for a, b in zip(sending.lines[1:-2], sending.lines[2:-1], strict=True)
            ],
        }


def _follow(sending: stack.Sending, plan: Plan, seconds: float) -> dict[str, Any]:
    """Wait for the outboxes to end, telling how far they are; their last word."""
    limit = time.monotonic() + 3 * seconds + 300
    told = time.monotonic()
    while sending.process.poll() is None and time.monotonic() < limit:
        time.sleep(0.2)
        if time.monotonic() - told > 10 and len(sending.lines) > 1:
            told = time.monotonic()
            word, earlier = sending.lines[-1], sending.lines[-min(len(sending.lines), 10)]
            rate = (word["acked"] - earlier["acked"]) * plan.observations / max(0.1, word["s"] - earlier["s"])
            progress(f"  {word['acked'] * plan.observations:,} committed, {rate:,.0f}/s, {word['resent']} sent again")
    return sending.finish(10)


def _roll_up(database: Database, server: DatabaseProcess) -> float:
    """CPU seconds of PostgreSQL to roll up what was written, as if its hours were over."""
    before = stack.cpu_s(server.postmaster)
    with connect(Settings(url=database.url, schema=database.schema), name="bench") as connection:
        rolling.prepare(connection)
        roller = Roller(kinds.load(environ={}), grace_s=0, stopping=threading.Event())
        over_ms = (time.time_ns() // 1_000_000 // HOUR_MS + 2) * HOUR_MS
        for profile in kinds.load(environ={}).values():
            rolling.begin_closing(connection, profile.kind, over_ms)
            rolling.roll_closed(connection, profile, roller.pause)
            rolling.roll_days(connection, profile, roller.pause)
    if not database.rows("SELECT count(*) FROM rollup_hour_streetlight")[0][0]:
        raise Wrong("nothing was rolled up")
    return stack.cpu_s(server.postmaster) - before


def histogram(counters: dict[str, Any]) -> dict[str, Any]:
    """Latency as ingest counted it."""
    found: dict[str, Any] = counters["latency_ms_histogram"]
    return found


def quantile(histograms: list[dict[str, Any]], share: float) -> float:
    """Upper bound (ms) of the bucket that holds the quantile."""
    counts = [sum(column) for column in zip(*(found["counts"] for found in histograms), strict=True)]
    passed, total = 0, sum(counts)
    for bound, count in zip([*histograms[0]["bounds"], float("inf")], counts, strict=True):
        passed += count
        if passed >= share * total:
            return float(bound)
    return float("inf")


def _cases_of(name: str, measured: dict[str, Any], of: str) -> list[Case]:
    of = f"{of}, {measured['observations']:,} observations"
    cases = [
        case(f"{name}", measured["rate"], "observations/s", of=of),
    ]
    if measured["second_by_second"]:
        cases.append(case(f"{name}, median second", statistics.median(measured["second_by_second"]), "observations/s"))
    cases += [
        case(f"{name}: {process}", seconds / measured["observations"] * 1e6, "CPU us/observation")
        for process, seconds in {**measured["cpu"], "all of them": sum(measured["cpu"].values())}.items()
    ]
    if measured["latency"]:
        cases += [
            case(f"{name}: latency p{100 * share:.0f}", quantile(measured["latency"], share), "ms")
            for share in (0.5, 0.99)
        ]
    cases.append(case(f"{name}: batches sent again", measured["resent"], "batches"))
    cases.append(case(f"{name}: alarms", measured["alarms"], "alarms"))
    return cases


def _plan(options: argparse.Namespace, observations: float, a_batch: int, rate: float, qos: int = 0) -> Plan:
    return Plan(
        outboxes=options.outboxes,
        size=max(4, options.devices // options.outboxes),
        batches=max(1, round(observations / options.outboxes / a_batch)),
        observations=a_batch,
        rate=rate,
        start_ms=int((time.time() + READY_S + observations / ENCODED_A_S) * 1000),
        qos=qos,
    )


def _made(place: Path, plan: Plan) -> Load:
    progress(f"encoding {plan.total:,} observations of {plan.outboxes:,} outboxes, {plan.observations} a batch")
    load = make(place, plan)
    progress(f"encoded: {load.length.sum() / plan.total:.1f} B an observation with header and topic")
    return load


def soak(options: argparse.Namespace, place: Path, server: DatabaseProcess) -> list[Case]:
    """A long run at a fixed rate: memory, latency, lost, twice."""
    rate = options.rate
    if not rate:
        probe = argparse.Namespace(**{**vars(options), "soak": 0.0, "rate": 0.0})
        plan = _plan(probe, probe.seconds * GUESS, 100, GUESS)
        found = measure(probe, place, server, _made(place / "probe", plan))["rate"]
        rate = SOAK_SHARE * found
        progress(f"as fast as it goes: {found:,.0f}/s; soaking at {rate:,.0f}/s for {options.soak:.0f} s")
    paced = argparse.Namespace(**{**vars(options), "rate": rate, "seconds": options.soak})
    load = _made(place / "load", _plan(paced, options.soak * rate, 100, rate))
    measured = measure(paced, place, server, load)
    memory = measured["rss_mb"]
    third = max(1, len(memory) // 3)
    first, last = statistics.mean(memory[:third]), statistics.mean(memory[-third:])
    of = f"{options.soak:.0f} s at {rate:,.0f}/s, {measured['observations']:,} observations"
    return [
        case("soak", measured["rate"], "observations/s", against=("asked for", rate), of=of),
        case("soak: lost or twice", 0, "observations", of=of),
        case("soak: memory of ingest, last third", last, "MB", against=("first third", first)),
        case("soak: highest memory of ingest", max(memory), "MB"),
        *(case(f"soak: latency p{100 * q:g}", quantile(measured["latency"], q), "ms") for q in (0.5, 0.99, 0.999)),
        case(
            "soak: rolling up afterwards", 1e6 * measured["rollup_s"] / measured["observations"], "CPU us/observation"
        ),
        case("soak: batches sent again", measured["resent"], "batches"),
        *(
            case(f"soak: {process}", seconds / measured["seconds"], "cores")
            for process, seconds in measured["cpu"].items()
        ),
    ]


def self_test(options: argparse.Namespace, place: Path, server: DatabaseProcess) -> list[Case]:
    """A small run whose rows are then broken, each break to be noticed."""
    small = argparse.Namespace(**{**vars(options), "outboxes": 20, "devices": 1000, "seconds": 0.0, "rate": 0.0})
    measured = measure(small, place, server, _made(place / "load", _plan(small, 10_000, 100, GUESS)))
    for line in measured["breaks"]:
        progress(f"noticed: {line}")
    of = f"{measured['observations']:,} observations"
    return [*_cases_of(BATCHES, measured, of), case("breaks noticed", len(measured["breaks"]), "breaks")]
