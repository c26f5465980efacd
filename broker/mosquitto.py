"""Mosquitto as MQTT broker: the usual single server, from the system's packages; MQTT 3.1.1 and 5.

Renders the users into `mosquitto.conf`, `passwords` and `acl`. Its files of access rules are judged when a message
is published or delivered: a subscription to another's topic is granted and then stays silent.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from broker import limits
from broker.errors import BrokerError
from broker.registry import User

NAME = "mosquitto"
STORE = None
SYSTEM_PLACES = ("/usr/sbin", "/usr/local/sbin")  # on root's PATH only


def find() -> Path:
    """The binary, from PATH or where systems put what serves."""
    found = shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), *SYSTEM_PLACES]))
    if found is None:
        raise BrokerError("cannot find mosquitto: install it with `apt-get install mosquitto`, or use --broker nats")
    return Path(found)


def render(users: Iterable[User], *, host: str, port: int, directory: Path) -> dict[str, str]:
    """Configuration files by name."""
    users = list(users)
    lines = [
        "# Written by `dure broker`; changes here are overwritten.",
        f"listener {port} {host}",
        f"max_connections {limits.MAX_CLIENTS}",
        "allow_anonymous false",
        f"password_file {directory / 'passwords'}",
        f"acl_file {directory / 'acl'}",
        *(["# Else it gives up root, and could read none of these files.", "user root"] if os.geteuid() == 0 else []),
        "persistence false",
        "persistent_client_expiration 1h",
        "retain_available false",
        f"max_packet_size {limits.MAX_PACKET_BYTES}",
        "# Its default of 1000 acknowledges and then discards what a slow consumer misses: bounded by bytes instead.",
        "max_queued_messages 0",
        f"max_queued_bytes {limits.MAX_QUEUED_BYTES}",
        "max_inflight_messages 0",
        "set_tcp_nodelay true",
        "sys_interval 0",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "log_timestamp_format %Y-%m-%dT%H:%M:%S",
    ]
    passwords = [f"{user.username}:{user.pbkdf2}" for user in users]
    return {
        "mosquitto.conf": "\n".join(lines) + "\n",
        "passwords": "\n".join(passwords) + "\n",
        "acl": "\n".join(line for user in users for line in _rules(user)) + "\n",
    }


def command(binary: Path, directory: Path) -> list[str]:
    return [str(binary), "-c", str(directory / "mosquitto.conf")]


def _rules(user: User) -> list[str]:
    return [
        f"user {user.username}",
        *(f"topic write {topic}" for topic in user.permissions.publish),
        *(f"topic read {topic}" for topic in user.permissions.subscribe),
        "",
    ]
