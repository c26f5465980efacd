"""`dure api`: serve; `dure api add-account`: let somebody in; `dure api openapi`: print the interface."""

import argparse
import asyncio
import contextlib
import getpass
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uvicorn

from contracts import config, profiles, topics
from contracts.log import log
from platform_api import live, passwords
from platform_api import settings as configuration
from platform_api.app import create_app
from platform_api.queries import accounts
from platform_api.queries.database import Database, DatabaseAwayError, SchemaMissingError, TakenError
from platform_api.routes.health import database_lacks
from platform_api.settings import Database as DatabaseSettings
from platform_api.settings import Settings


def main(argv: list[str]) -> int:
    try:
        if argv[:1] == ["add-account"]:
            return add_account(argv[1:])
        if argv[:1] == ["openapi"]:
            return openapi(argv[1:])
        return serve(argv)
    except (config.ConfigError, profiles.ProfileError) as error:
        print(f"dure api: {error}", file=sys.stderr)
        return 2


def serve(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure api",
        description="Serve the HTTP API under /api/v1 and the dashboard at /. Prints `ready url=…` once the database can serve; "  # noqa: E501
        "answers 503 before that, and whenever the database is away. SIGTERM stops in order.",
        epilog="Also: `dure api add-account --help` (who may sign in), `dure api openapi` (the interface as a document). "  # noqa: E501
        "The database is [database] url of --config, or DURE_DATABASE_URL.",
    )
    _config_option(parser)
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one (default: 8080)")
    parser.add_argument(
        "--broker-file", type=Path, help="the broker's address and our credentials (default: no live stream)"
    )
    given = parser.parse_args(argv)
    settings, database = configuration.load(given.config, os.environ)
    changes = {key: value for key, value in (("host", given.host), ("port", given.port)) if value is not None}
    if given.broker_file is not None:
        changes["broker_file"] = str(given.broker_file)
    settings = msgspec.structs.replace(settings, **changes)
    broker = live.read_broker_file(Path(settings.broker_file)) if settings.broker_file else None
    kinds = profiles.load()
    app = create_app(settings, database, kinds, broker)
    try:
        listener = _listen(settings.host, settings.port)
    except OSError as error:
        print(f"dure api: cannot listen on {settings.host}:{settings.port}: {error.strerror}", file=sys.stderr)
        return 1
    server = Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.behind_proxy),
            forwarded_allow_ips=settings.behind_proxy or None,
            timeout_graceful_shutdown=3,
            timeout_keep_alive=30,
        ),
        f"http://{_shown(settings.host)}:{listener.getsockname()[1]}",
    )
    log(
        "starting", url=server.url, schema=database.schema, kinds=",".join(kinds), broker=settings.broker_file or "none"
    )
    server.run(sockets=[listener])
    log("stopped")
    return 0 if server.started else 1


class Server(uvicorn.Server):
    """uvicorn, with our `ready` line, our signals, and streams that end when it stops."""

    def __init__(self, made: uvicorn.Config, url: str) -> None:
        super().__init__(made)
        self.url = url
        self._announcing: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announcing = asyncio.create_task(self._announce())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._announcing is not None:
            self._announcing.cancel()
        self.config.app.state.hub.close()  # type: ignore[union-attr]
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but an orderly stop is exit 0: the signal is not raised again."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    async def _announce(self) -> None:
        """Print `ready` once the database can serve; say why not, when that changes."""
        state = self.config.app.state  # type: ignore[union-attr]
        told = None
        while why := await database_lacks(state.database, set(state.profiles)):
            if why != told:
                log("waiting", level="warning", why="; ".join(why))
                told = why
            await asyncio.sleep(0.5)
        print(f"ready url={self.url}", flush=True)


def add_account(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure api add-account",
        description="Add an account. Operators read, acknowledge and close; engineers also register devices and admit from "  # noqa: E501
        "quarantine; admins may everything. Without --municipality the account sees all municipalities.",
        epilog="Example: dure api add-account --name minji --role operator --municipality 41280",
    )
    _config_option(parser)
    parser.add_argument("--name", help="what to sign in with (asked for when missing)")
    parser.add_argument(
        "--role", choices=("operator", "engineer", "admin"), default="operator", help="default: %(default)s"
    )
    parser.add_argument("--municipality", metavar="CODE", help="the only municipality it sees (default: all)")
    parser.add_argument(
        "--language", choices=("ko", "en"), default="ko", help="of the dashboard (default: %(default)s)"
    )
    parser.add_argument(
        "--password-file", metavar="FILE", help="read the password from FILE, or - for stdin (default: ask)"
    )
    given = parser.parse_args(argv)
    _, database = configuration.load(given.config, os.environ)
    try:
        name = (given.name or input("Name: ")).strip()
        if not 1 <= len(name) <= 128 or not name.isprintable():
            raise ValueError(f"cannot use the name {name!r}: 1 to 128 printable characters go")
        if given.municipality is not None and not topics.is_municipality(given.municipality):
            raise ValueError(f"cannot use the municipality {given.municipality!r}: not {topics.MUNICIPALITY}")
        stored = passwords.hashed(_password(given.password_file))
        asyncio.run(_add(database, name, stored, given.role, given.municipality, given.language))
    except (ValueError, OSError, EOFError) as error:
        print(f"dure api add-account: {error or 'nothing was typed'}", file=sys.stderr)
        return 2
    except TakenError:
        print(f"dure api add-account: there is an account {name!r} already", file=sys.stderr)
        return 1
    except SchemaMissingError:
        print(
            f"dure api add-account: schema {database.schema!r} is not there: run `dure migrate` first", file=sys.stderr
        )
        return 1
    except DatabaseAwayError as error:
        print(f"dure api add-account: the database cannot be reached: {error}", file=sys.stderr)
        return 1
    print(f"added account {name!r}: {given.role} of {given.municipality or 'all municipalities'}")
    return 0


def openapi(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure api openapi", description="Print the OpenAPI document of the API (JSON). Needs no database."
    )
    parser.parse_args(argv)
    app = create_app(Settings(), DatabaseSettings(url="postgresql://"), profiles.load())
    print(json.dumps(app.openapi(), indent=1, ensure_ascii=False))
    return 0


async def _add(
    settings: DatabaseSettings, name: str, stored: str, role: str, municipality: str | None, language: str
) -> None:
    database = Database(settings.url, settings.schema, size=2, wait_s=5.0)
    await database.open()
    try:
        if municipality is not None and not await accounts.municipality_exists(database, municipality):
            raise ValueError(f"there is no municipality {municipality!r}; register the fleet first")
        await accounts.account_add(database, name, stored, role, municipality, language)
    finally:
        await database.close()


def _password(file: str | None) -> str:
    if file == "-":
        return sys.stdin.readline().rstrip("\r\n")
    if file is not None:
        return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    first = getpass.getpass("Password: ")
    if first != getpass.getpass("Again: "):
        raise ValueError("the two passwords differ")
    return first


def _config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, help="TOML file with [api] and [database] (sample: deploy/config/api.toml)"
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(True)
    return listener


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
