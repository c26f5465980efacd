"""The registry: who may connect, with what hashes, and the credential files that clients take away.

Promise: whoever has a password keeps it; issuing again adds only who is missing. A credential file is written before
the registry names it, so a run that dies half way is completed by the next one. The registry keeps hashes only: a file
that has moved to its box (and left this machine) can be replaced, never read back.
"""

import hashlib
import secrets
import tomllib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from broker import passwords, permissions
from broker.errors import BrokerError
from broker.permissions import Permissions
from broker.state import State, write
from contracts import topics


class Identity(msgspec.Struct, frozen=True):
    """One user of the broker; `municipality` is empty for a service."""

    username: str
    municipality: str
    agent: str
    bcrypt: str
    pbkdf2: str

    def permissions(self) -> Permissions:
        if self.municipality:
            return permissions.of_agent(self.municipality, self.agent)
        return permissions.of_service(self.username)


class User(msgspec.Struct, frozen=True):
    """What a broker's configuration needs to know of one identity."""

    username: str
    bcrypt: str
    pbkdf2: str
    permissions: Permissions


class Credentials(msgspec.Struct, frozen=True):
    """The content of a credential file."""

    host: str
    port: int
    username: str
    password: str
    client_id: str


class Issued(msgspec.Struct):
    """What one run of issuing changed, by user name."""

    made: list[str]
    kept: list[str]
    unlisted: list[str]
    revoked: list[str]
    absent: list[str]  # kept, but their file is no longer here


def load(state: State) -> dict[str, Identity]:
    """The identities by user name; empty before the first issue."""
    try:
        found = msgspec.json.decode(state.registry.read_bytes(), type=list[Identity])
    except FileNotFoundError:
        return {}
    except msgspec.MsgspecError as error:
        raise BrokerError(f"cannot read {state.registry}: {error}") from error
    return {identity.username: identity for identity in found}


def version(state: State) -> str:
    """Names the registry's content; changes whenever an identity does."""
    try:
        return hashlib.sha256(state.registry.read_bytes()).hexdigest()
    except FileNotFoundError:
        return "empty"


def users(identities: Iterable[Identity]) -> list[User]:
    return [User(i.username, i.bcrypt, i.pbkdf2, i.permissions()) for i in identities]


def issue(
    state: State,
    agents: Iterable[tuple[str, str]],
    *,
    host: str,
    port: int,
    prune: bool = False,
    reissue: Iterable[str] = (),
) -> Issued:
    """Give every agent (municipality, agent) and every service an identity and a credential file.

    prune   : revoke registered agents that `agents` doesn't name, and remove their files.
    reissue : user names whose old password ends and who get a new one.
    raises  : BrokerError for names that the topic grammar refuses.
    """
    with state.registering():
        registered = load(state)
        wanted: dict[str, tuple[str, str]] = dict.fromkeys(permissions.SERVICES, ("", ""))
        for municipality, agent in agents:
            wanted[agent_username(municipality, agent)] = (municipality, agent)
        again = set(reissue)
        if strangers := again - wanted.keys() - registered.keys():
            raise BrokerError(f"cannot reissue {', '.join(sorted(strangers))}: not registered")
        unlisted = sorted(registered.keys() - wanted.keys())
        issued = Issued([], [], [] if prune else unlisted, unlisted if prune else [], [])
        result = {name: identity for name, identity in registered.items() if name not in issued.revoked}
        wanted |= {name: (result[name].municipality, result[name].agent) for name in again & result.keys()}
        for name, (municipality, agent) in wanted.items():
            path = credential_file(state, name, municipality)
            if name in registered and name not in again:
                issued.kept.append(name)
                if not path.exists():
                    issued.absent.append(name)
                continue
            password = None if name in again else _password_in(path, name)
            if password is None:
                password = passwords.new_password()
                _write_credentials(path, Credentials(host, port, name, password, client_id(name)))
            result[name] = Identity(
                name, municipality, agent, passwords.for_nats(password), passwords.for_mosquitto(password)
            )
            issued.made.append(name)
        encoded = msgspec.json.format(msgspec.json.encode([result[name] for name in sorted(result)]), indent=1).decode()
        if not state.registry.exists() or state.registry.read_text() != encoded:
            write(state.registry, encoded)
        for name in issued.revoked:
            credential_file(state, name, registered[name].municipality).unlink(missing_ok=True)
        readdress(state, host, port)
        return issued


def agent_username(municipality: str, agent: str) -> str:
    if not topics.is_municipality(municipality):
        raise BrokerError(f"cannot register agent {agent!r}: bad municipality {municipality!r}")
    if not topics.is_agent(agent):
        raise BrokerError(f"cannot register agent {agent!r} of {municipality}: bad agent name")
    return f"{municipality}.{agent}"


def client_id(username: str) -> str:
    """A client id that nobody can guess: who connects with another's id throws that one out, on any broker.

    NATS refuses ids with dots (2.15: "invalid character in client ID").
    """
    return f"{username.replace('.', '_')}_{secrets.token_hex(6)}"


def credential_file(state: State, username: str, municipality: str) -> Path:
    return (state.agents if municipality else state.services) / f"{username}.toml"


def read_credentials(path: Path) -> Credentials:
    """The content of a credential file; raises BrokerError naming the file."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), Credentials)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BrokerError(f"cannot read credentials {path}: {error}") from error


def readdress(state: State, host: str, port: int) -> None:
    """Put the broker's address into every credential file that names another one."""
    for path in [*state.agents.glob("*.toml"), *state.services.glob("*.toml")]:
        found = read_credentials(path)
        if (found.host, found.port) != (host, port):
            _write_credentials(path, msgspec.structs.replace(found, host=host, port=port))


def _password_in(path: Path, username: str) -> str | None:
    """The password of a file that an interrupted run left without its entry in the registry."""
    if not path.exists():
        return None
    found = read_credentials(path)
    return found.password if found.username == username else None


def _write_credentials(path: Path, credentials: Credentials) -> None:
    fields = msgspec.structs.asdict(credentials)
    lines = [f"{key} = {value}" if isinstance(value, int) else f'{key} = "{value}"' for key, value in fields.items()]
    write(path, "\n".join(lines) + "\n")
