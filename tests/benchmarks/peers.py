"""What a user would pick instead of Dure's ingest, run on the same broker, the same database and the same observations.

The observations travel as people send them without Dure: JSON, one observation a message or a list of a hundred. The
tables have the columns of Dure's, a text for the device, and no index. A peer is let run ahead of what it has stored
by so many messages and no more, so that no broker has to drop any; then its rows are counted and summed.

Node-RED and Telegraf are installed below .dure/bench the first time, at the versions named here, by npm and go.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from broker.state import free_port
from contracts import profiles as kinds
from contracts import wire
from contracts.profiles import Profile
from tests.benchmarks import check, stack
from tests.benchmarks.load import Load, publication
from tests.benchmarks.report import Case, Wrong, case, progress
from tests.database_fixture import ROOT, Database, DatabaseProcess
from tests.waiting import wait_for

NODE_RED = ("node-red@4.1.8", "pg@8.23.1")
TELEGRAF = "github.com/influxdata/telegraf/cmd/telegraf@v1.37.2"
TELEGRAF_PARTS = "custom,inputs.mqtt_consumer,outputs.postgresql,parsers.json"
BUILD_S = 1200
COUNT_S = 0.25
PATIENCE_S = 30.0  # without another row
SQL_TYPES = {"number": "real", "integer": "integer", "enum": "text", "boolean": "boolean"}


class Absent(Exception):
    """A peer that cannot be had here; the message says why."""


class Peer(msgspec.Struct, frozen=True):
    name: str
    a_message: int  # observations
    ahead: int  # messages that it may have before it
    run: Callable[[stack.Broker, Database, Path], Any]  # a context manager; it is ready inside
    table: Callable[[str], str]  # table of a kind
    time: str = "observed_at"
    tables: bool = True  # whether its tables are made for it


def restate(load: Load, folder: Path, a_message: int, most: int) -> Load:
    """The same observations as JSON objects, as a load of their own."""
    folder.mkdir(exist_ok=True)
    lengths, bodies, outboxes, count = [], [], [], 0
    encode = msgspec.json.Encoder().encode
    with (folder / "packets.bin").open("wb") as packets:
        for outbox, body in load.bodies():
            items = []
            for kind, group in wire.decode_body(body).items():
                names = list(group)
                for values in zip(*group.values(), strict=True):
                    pairs = zip(names, values, strict=True)
                    items.append({"kind": kind} | {name: value for name, value in pairs if value is not None})
            items.sort(key=lambda item: item["observed_at"])
            town, agent = load.plan.fleet.agent(outbox)
            if a_message == 1:
                parts = [(f"bench/{town}/{item['kind']}/{item['device']}", encode(item)) for item in items]
            else:
                parts = [(f"bench/{town}/{agent}", encode(items))]
            for topic, payload in parts:
                packet = publication(topic.encode(), payload, 0)
                packets.write(packet)
                lengths.append(len(packet))
                bodies.append(len(payload))
                outboxes.append(outbox)
            count += len(items)
            if count >= most:
                break
    length = np.array(lengths, np.int64)
    np.savez(
        folder / "index.npz", offset=np.cumsum(length) - length, length=length, body=np.array(bodies, np.int64),
        outbox=np.array(outboxes, np.int32), sealed_ms=np.zeros(len(outboxes), np.int64),
    )  # fmt: skip
    plan = msgspec.structs.replace(load.plan, observations=a_message, stamped=False)
    (folder / "load.json").write_bytes(msgspec.json.encode(plan))
    return Load(folder)


def measure(peer: Peer, load: Load, broker_name: str, place: Path, server: DatabaseProcess, seconds: float) -> float:
    """Observations a second that a peer stores, each checked. Raises Wrong, Absent."""
    with stack.broker(broker_name, place) as broker, stack.schema(server) as database:
        if peer.tables:
            for kind, profile in kinds.load(environ={}).items():
                columns = "".join(f", {name} {SQL_TYPES[item.type]}" for name, item in profile.properties.items())
                database.rows(
                    f"CREATE TABLE {peer.table(kind)} (device text NOT NULL, observed_at timestamptz NOT NULL{columns})"
                )
        with peer.run(broker, database, place):
            sending = stack.Sending(load.folder, broker)
            try:
                granted, took = _carry(peer, load, sending, database, seconds)
            finally:
                sending.stop()
            _same(peer, load, granted, database)
    return granted * peer.a_message / took


def _carry(peer: Peer, load: Load, sending: stack.Sending, database: Database, seconds: float) -> tuple[int, float]:
    """Let the load run ahead of what is stored; how many messages went, and the seconds until all were stored."""
    names = [peer.table(kind) for kind in kinds.load(environ={})]
    with database.connect(autocommit=True) as connection:

        def stored(statement: str) -> int:
            return int((connection.execute(statement.encode()).fetchone() or (0,))[0] or 0)

        listed = ", ".join(f"'{name}'" for name in names)
        reported = (  # by each connection about once a second; it costs nothing
            f"SELECT sum(n_tup_ins) FROM pg_stat_user_tables WHERE schemaname = '{database.schema}' "
            f"AND relname IN ({listed})"
        )
        wait_for(lambda: sending.lines, 60)
        granted, began = 0, time.monotonic()
        while time.monotonic() - began < seconds and granted < len(load.outbox):
            granted = max(granted, min(len(load.outbox), stored(reported) // peer.a_message + peer.ahead))
            sending.grant(granted)
            time.sleep(COUNT_S)
        known = [name for name in names if stored(f"SELECT count(*) FROM pg_class WHERE oid = to_regclass('{name}')")]
        exactly = "SELECT " + " + ".join(f"(SELECT count(*) FROM {name})" for name in known)
        found, moved = -1, time.monotonic()
        while (now := stored(exactly)) < granted * peer.a_message:
            moved = time.monotonic() if now > found else moved
            found = now
            if time.monotonic() - moved > PATIENCE_S:
                raise Wrong(f"{peer.name}: {found} of {granted * peer.a_message} observations were stored")
            time.sleep(COUNT_S)
        return granted, time.monotonic() - began


def _same(peer: Peer, load: Load, granted: int, database: Database) -> None:
    """Raise Wrong when the tables do not hold what was sent: rows, times, values and their sums."""
    expected: dict[str, dict[str, int]] = {}
    profiles = kinds.load(environ={})
    for _, body in load.bodies(granted):
        found = msgspec.json.decode(body)
        for item in found if isinstance(found, list) else [found]:
            sums = expected.setdefault(item["kind"], {"rows": 0, "times": 0})
            sums["rows"] += 1
            sums["times"] += item["observed_at"] - check.BASE_MS
            for name, prop in profiles[item["kind"]].properties.items():
                if name in item:
                    sums[f"{name} values"] = sums.get(f"{name} values", 0) + 1
                    if prop.numeric:
                        units = round(item[name] * 10**prop.decimals)
                        sums[f"{name} sum"] = sums.get(f"{name} sum", 0) + units
    for kind, sums in expected.items():
        chosen = {
            "rows": "count(*)",
            "times": f"sum(round(extract(epoch FROM {peer.time}) * 1000)::bigint - {check.BASE_MS})",
        }
        for name, prop in profiles[kind].properties.items():
            chosen[f"{name} values"] = f"count({name})"
            if prop.numeric:
                chosen[f"{name} sum"] = f"sum(round({name}::float8 * {10**prop.decimals})::bigint)"
        asked = [name for name in chosen if name in sums]
        values = ", ".join(f"({chosen[name]})::bigint" for name in asked)
        (stored,) = database.rows(f"SELECT {values} FROM {peer.table(kind)}")
        for name, value in zip(asked, stored, strict=True):
            if value != sums[name]:
                raise Wrong(f"{peer.name}, {kind} {name}: sent {sums[name]}, stored {value}")


@contextmanager
def _process(command: list[str], ready: str, log: Path, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that has said `ready`."""
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, text=True, start_new_session=True, **more)

    def said() -> bool:
        if process.poll() is not None:
            raise Absent(f"it ended with {process.returncode}: {log.read_text()[-500:]}")
        return ready in log.read_text()

    try:
        wait_for(said, 60)
        yield process
    finally:
        stack.end(process)


def _account(broker: stack.Broker, place: Path) -> Path:
    file = place / "peer.json"
    file.write_bytes(msgspec.json.encode(broker.account))
    file.chmod(0o600)
    return file


def _python(way: str) -> Callable[[stack.Broker, Database, Path], Any]:
    def run(broker: stack.Broker, database: Database, place: Path) -> Any:
        command = [sys.executable, "-m", "tests.benchmarks.consumer", way, str(_account(broker, place))]
        return _process([*command, database.url, database.schema], "ready", place / "consumer.log", cwd=ROOT)

    return run


def _node() -> dict[str, str]:
    """Environment with a Node.js: that of PATH, or of the wheel as `run` puts it."""
    return {**os.environ, "PATH": f"{os.environ['PATH']}:{ROOT / '.dure' / 'node'}"}


def install_node_red() -> Path:
    """Where Node-RED is; raises Absent."""
    place = stack.PLACE / "node-red"
    place.mkdir(parents=True, exist_ok=True)
    stamp = place / "installed"
    if not stamp.exists() or stamp.read_text() != " ".join(NODE_RED):
        if shutil.which("npm", path=_node()["PATH"]) is None:
            raise Absent("there is no npm; ./run setup brings one")
        (place / "package.json").write_text('{"private": true}\n')
        progress(f"installing {' and '.join(NODE_RED)}")
        done = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *NODE_RED], cwd=place,
            env=_node(), capture_output=True, text=True, timeout=BUILD_S,
        )  # fmt: skip
        if done.returncode:
            raise Absent(f"npm: {done.stderr.strip()[-300:]}")
        stamp.write_text(" ".join(NODE_RED))
    return place


def _node_red(broker: stack.Broker, database: Database, place: Path) -> Any:
    """MQTT in, a function that makes one INSERT a kind of each list; its pool of ten connections is pg's default."""
    installed = install_node_red()
    home = place / "node-red"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    inserts = {kind: _insert_list(profile) for kind, profile in kinds.load(environ={}).items()}
    function = (
        "const rows = {};\n"
        "for (const item of msg.payload) {\n"
        "  item.observed_at = new Date(item.observed_at).toISOString();\n"
        "  (rows[item.kind] ??= []).push(item);\n"
        "}\n"
        "const pool = global.get('pool'), inserts = global.get('inserts');\n"
        "const client = await pool.connect();\n"
        "try {\n"
        "  await client.query('BEGIN');\n"
        "  for (const kind in rows) await client.query({name: kind, text: inserts[kind], "
        "values: [JSON.stringify(rows[kind])]});\n"
        "  await client.query('COMMIT');\n"
        "} finally { client.release(); }\n"
    )
    connection = {
        "id": "broker", "type": "mqtt-broker", "name": "", "broker": broker.account.host,
        "port": str(broker.account.port), "clientid": "node-red", "autoConnect": True, "usetls": False,
        "protocolVersion": "4", "keepalive": "60", "cleansession": True,
    }  # fmt: skip
    mqtt = {
        "id": "in", "type": "mqtt in", "z": "tab", "topic": "bench/#", "qos": "0", "datatype": "json",
        "broker": "broker", "inputs": 0, "x": 100, "y": 100, "wires": [["insert"]],
    }  # fmt: skip
    insert = {
        "id": "insert", "type": "function", "z": "tab", "func": function, "outputs": 0, "timeout": 0, "noerr": 0,
        "initialize": "", "finalize": "", "libs": [], "x": 300, "y": 100, "wires": [],
    }  # fmt: skip
    (home / "flows.json").write_text(json.dumps([{"id": "tab", "type": "tab"}, connection, mqtt, insert]))
    secrets = {"broker": {"user": broker.account.username, "password": broker.account.password}}
    (home / "flows_cred.json").write_text(json.dumps(secrets))
    pool = f"new (require({json.dumps(str(installed / 'node_modules' / 'pg'))}).Pool)({json.dumps(_pg(database))})"
    (home / "settings.js").write_text(
        "module.exports = {flowFile: 'flows.json', credentialSecret: false, uiHost: '127.0.0.1', httpAdminRoot: false, "
        "httpNodeRoot: false, disableEditor: true, logging: {console: {level: 'info'}}, "
        f"functionGlobalContext: {{pool: {pool}, inserts: {json.dumps(inserts)}}}}};\n"
    )
    red = installed / "node_modules" / "node-red" / "red.js"
    port = str(free_port("127.0.0.1"))
    command = ["node", str(red), "-u", str(home), "-s", str(home / "settings.js"), "-p", port, "flows.json"]
    return _process(command, "Connected to broker", place / "node-red.log", cwd=home, env=_node())


def _insert_list(profile: Profile) -> str:
    """INSERT of a JSON list of a kind's observations."""
    names = ["device", "observed_at", *profile.properties]
    table = f"peer_{profile.kind}"
    return f"INSERT INTO {table} SELECT {', '.join(names)} FROM json_populate_recordset(NULL::{table}, $1)"


def _pg(database: Database) -> dict[str, object]:
    """How node's pg reaches the database."""
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(database.url)
    found: dict[str, object] = {"host": parts["host"], "user": parts["user"], "database": parts["dbname"]}
    if "port" in parts:
        found["port"] = int(str(parts["port"]))
    return {**found, "options": f"-c search_path={database.schema}"}


def install_telegraf() -> Path:
    """Where Telegraf is, built with the parts that are wanted; raises Absent."""
    place = stack.PLACE / "telegraf"
    place.mkdir(parents=True, exist_ok=True)
    binary, stamp = place / "telegraf", place / "installed"
    if not binary.exists() or not stamp.exists() or stamp.read_text() != TELEGRAF:
        if shutil.which("go") is None:
            raise Absent("there is no go to build it with")
        progress(f"building {TELEGRAF}; this takes some minutes")
        (place / "go.mod").write_text("module bench.local/telegraf\n")
        package = TELEGRAF.partition("@")[0]
        for command in (
            ["go", "get", "-tags", TELEGRAF_PARTS, TELEGRAF],
            ["go", "build", "-mod=mod", "-buildvcs=false", "-tags", TELEGRAF_PARTS, "-o", str(binary), package],
        ):
            done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=BUILD_S)
            if done.returncode:
                raise Absent(f"{' '.join(command[:2])}: {done.stderr.strip()[-300:]}")
        stamp.write_text(TELEGRAF)
    return binary


def _telegraf(a_message: int) -> Callable[[stack.Broker, Database, Path], Any]:
    def run(broker: stack.Broker, database: Database, place: Path) -> Any:
        binary = install_telegraf()
        words = sorted({
            name for profile in kinds.load(environ={}).values() for name, item in profile.properties.items()
            if item.type == "enum"
        })  # fmt: skip
        pg = _pg(database)
        where = f"host={pg['host']} user={pg['user']} dbname={pg['database']}" + (
            f" port={pg['port']}" if "port" in pg else ""
        )
        file = place / "telegraf.conf"
        file.write_text(f"""
[agent]
interval = "1s"
flush_interval = "1s"
metric_batch_size = 10000
metric_buffer_limit = 200000
omit_hostname = true
[[inputs.mqtt_consumer]]
servers = ["tcp://{broker.account.host}:{broker.account.port}"]
topics = ["bench/#"]
topic_tag = ""
username = "{broker.account.username}"
password = "{broker.account.password}"
client_id = "telegraf"
max_undelivered_messages = {100_000 // a_message}
data_format = "json"
json_name_key = "kind"
tag_keys = ["device"]
json_string_fields = {json.dumps(words)}
json_time_key = "observed_at"
json_time_format = "unix_ms"
[[outputs.postgresql]]
connection = "{where}"
schema = "{database.schema}"
""")
        file.chmod(0o600)
        return _process([str(binary), "--config", str(file)], "Connected [tcp", place / "telegraf.log")

    return run


PEERS = (
    Peer("python, one commit an observation", 1, 4_000, _python("each"), "peer_{}".format),
    Peer("python, executemany a message of 100", 100, 1_000, _python("message"), "peer_{}".format),
    Peer("node-red, an insert a message of 100", 100, 1_000, _node_red, "peer_{}".format),
    Peer("telegraf, messages of 1", 1, 50_000, _telegraf(1), "{}".format, time="time", tables=False),
    Peer("telegraf, messages of 100", 100, 1_000, _telegraf(100), "{}".format, time="time", tables=False),
)


def run(load: Load, broker_name: str, place: Path, server: DatabaseProcess, seconds: float, dure: float) -> list[Case]:
    """Each peer's rate, and how many times that Dure stores (`dure` observations a second, 0 when not measured)."""
    loads: dict[int, Load] = {}
    cases = []
    for peer in PEERS:
        if peer.a_message not in loads:
            most = 20_000 * int(seconds) if peer.a_message == 1 else 60_000 * int(seconds)
            progress(f"the same observations as JSON, {peer.a_message} a message")
            loads[peer.a_message] = restate(load, place / f"json-{peer.a_message}", peer.a_message, most)
        try:
            found = measure(peer, loads[peer.a_message], broker_name, place, server, seconds)
        except Absent as reason:
            progress(f"{peer.name}: absent: {reason}")
            continue
        progress(f"{peer.name}: {found:,.0f}/s")
        cases.append(case(peer.name, found, "observations/s"))
        if dure:
            cases.append(case(f"dure beside {peer.name}", dure, "observations/s", against=(peer.name, found)))
    return cases
