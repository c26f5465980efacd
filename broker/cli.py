"""`dure broker`: serve one broker; `dure broker credentials`: say who may use it.

Owns the options, the choice of the port and the messages to the person at the terminal.
"""

import argparse
import ipaddress
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from broker import mosquitto, nats, registry
from broker.errors import BrokerError
from broker.state import State, free_port, port_is_free
from broker.supervisor import Broker, Supervisor
from contracts.log import log

BROKERS: dict[str, Broker] = {nats.NAME: nats, mosquitto.NAME: mosquitto}
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 1883  # MQTT's own
APPLIED_WITHIN_S = 20.0


class FleetAgent(msgspec.Struct):
    municipality: str
    agent: str


class Fleet(msgspec.Struct):
    """What matters here of a fleet manifest."""

    agents: list[FleetAgent]


def main(argv: list[str]) -> int:
    try:
        if argv[:1] == ["credentials"]:
            return credentials(argv[1:])
        return serve(argv)
    except BrokerError as error:
        print(f"dure broker: {error}", file=sys.stderr)
        return 1


def serve(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure broker",
        description="Start and supervise an MQTT broker that knows only the identities of --state. It restarts when it "
        "dies, keeps its port, and reloads when `dure broker credentials` adds agents. Prints `ready port=…` once it "
        "lets clients in.",
        epilog="`dure broker credentials --help` tells how to give agents their passwords. SIGTERM stops in order.",
    )
    _state_option(parser)
    parser.add_argument(
        "--broker", choices=sorted(BROKERS), default=nats.NAME, help="which one (default: %(default)s, from its wheel)"
    )
    parser.add_argument("--host", default=DEFAULT_HOST, help="loopback address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port",
        type=_port,
        default=DEFAULT_PORT,
        help="TCP port (default: %(default)s); 0 picks a free one and remembers it",
    )
    options = parser.parse_args(argv)
    _check_loopback(options.host)
    state = State(options.state)
    with state.supervising():
        broker = BROKERS[options.broker]
        supervisor = Supervisor(state, broker, host=options.host)
        port = _choose_port(state, options.host, options.port)
        state.remember_address(options.host, port)
        registry.issue(state, [], host=options.host, port=port)
        supervisor.run(port, on_ready=lambda: print(f"ready port={port}", flush=True))
    return 0


def credentials(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure broker credentials",
        description="Give every agent of a fleet manifest, and the services ingest and api, a random password and a "
        "file with it: DIR/credentials/agents/<municipality>.<agent>.toml and DIR/credentials/services/<service>.toml. "
        "Who has a password keeps it. A running broker takes the change over without a restart.",
        epilog="Move an agent's file to its box and name it there as `broker_file`. Agents that the manifest does not "
        "name stay registered unless --prune is given.",
    )
    _state_option(parser)
    parser.add_argument(
        "--fleet", type=Path, required=True, help="fleet manifest (JSON with `agents`: municipality, agent)"
    )
    parser.add_argument(
        "--host", help=f"the broker's address in the files (default: that of the last start, else {DEFAULT_HOST})"
    )
    parser.add_argument(
        "--port",
        type=_port,
        help=f"the broker's port in the files (default: that of the last start, else {DEFAULT_PORT})",
    )
    parser.add_argument("--prune", action="store_true", help="revoke agents that the manifest does not name")
    parser.add_argument(
        "--reissue",
        action="append",
        default=[],
        metavar="NAME",
        help="new password for <municipality>.<agent> or a service; repeatable",
    )
    options = parser.parse_args(argv)
    agents = [(entry.municipality, entry.agent) for entry in _read_fleet(options.fleet).agents]
    state = State(options.state)
    host = options.host or state.remembered_host() or DEFAULT_HOST
    port = options.port or state.remembered_port() or DEFAULT_PORT
    issued = registry.issue(state, agents, host=host, port=port, prune=options.prune, reissue=options.reissue)
    counts = {"made": issued.made, "kept": issued.kept, "revoked": issued.revoked, "unlisted": issued.unlisted}
    print(
        "credentials",
        *(f"{name}={len(names)}" for name, names in counts.items()),
        f"directory={state.directory / 'credentials'}",
    )
    if issued.unlisted:
        print(
            f"still registered though the manifest does not name them (--prune revokes): {_some(issued.unlisted)}",
            file=sys.stderr,
        )
    if issued.absent:
        print(
            f"kept, though their file is no longer here (--reissue NAME makes a new one): {_some(issued.absent)}",
            file=sys.stderr,
        )
    if state.supervised() and not _applied(state):
        raise BrokerError(
            f"cannot see the change in the running broker after {APPLIED_WITHIN_S:.0f} s; look at {state.log}"
        )
    return 0


def _applied(state: State) -> bool:
    """Wait until the running broker enforces the registry as it is now."""
    give_up = time.monotonic() + APPLIED_WITHIN_S
    while time.monotonic() < give_up:
        if state.applied.exists() and state.applied.read_text() == registry.version(state):
            return True
        time.sleep(0.05)
    return not state.supervised()


def _choose_port(state: State, host: str, asked: int) -> int:
    """The port to listen on: the one asked for, or for 0 the remembered one, or a free one."""
    if asked:
        if not port_is_free(host, asked):
            raise BrokerError(
                f"cannot listen on {host} port {asked}: another program does; stop it, or let --port 0 pick a free one"
            )
        return asked
    remembered = state.remembered_port()
    if remembered and port_is_free(host, remembered):
        return remembered
    port = free_port(host)
    if remembered:
        log("port_changed", level="warning", was=remembered, now=port, reason="in use by another program")
    return port


def _read_fleet(path: Path) -> Fleet:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Fleet)
    except OSError as error:
        raise BrokerError(f"cannot read fleet manifest {path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise BrokerError(f"cannot read fleet manifest {path}: {error}") from error


def _check_loopback(host: str) -> None:
    """Passwords travel in the clear, so nothing but loopback is served."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise BrokerError(
            f"cannot listen on {host!r}: only loopback addresses (127.0.0.1, ::1) are served, for there is no TLS yet"
        )


def _state_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state", type=Path, required=True, metavar="DIR", help="directory that holds all of this broker"
    )


def _port(text: str) -> int:
    value = int(text) if text.isdecimal() else -1
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no TCP port")
    return value


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
