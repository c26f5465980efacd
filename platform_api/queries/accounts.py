"""Accounts and sessions."""

import msgspec

from platform_api.models.words import Role
from platform_api.queries.database import Database


class StoredAccount(msgspec.Struct, frozen=True):
    account_id: int
    name: str
    role: Role
    municipality: str | None
    language: str
    password_hash: str = ""

    @property
    def permitted(self) -> list[str] | None:
        """Municipalities whose things the account may see; None: all."""
        return None if self.municipality is None else [self.municipality]


class StoredSession(msgspec.Struct, frozen=True):
    account: StoredAccount
    expires_at: int
    extend: bool


async def account_by_name(database: Database, name: str) -> StoredAccount | None:
    row = await database.row("account_by_name", {"name": name})
    return msgspec.convert(row, StoredAccount) if row else None


async def account_add(
    database: Database, name: str, password_hash: str, role: str, municipality: str | None, language: str
) -> int:
    """The new account's number; raises TakenError when the name is taken."""
    parameters = {
        "name": name, "password_hash": password_hash, "role": role, "municipality": municipality, "language": language
    }  # fmt: skip
    row = await database.row("account_add", parameters)
    assert row is not None
    return int(row["account_id"])


async def municipality_exists(database: Database, code: str) -> bool:
    return await database.row("municipality_exists", {"code": code}) is not None


async def session_add(database: Database, token_hash: bytes, account_id: int, lifetime_s: float) -> int:
    """The new session's end, ms."""
    parameters = {"token_hash": token_hash, "account_id": account_id, "lifetime_s": lifetime_s}
    row = await database.row("session_add", parameters)
    assert row is not None
    return int(row["expires_at"])


async def session_find(database: Database, token_hash: bytes, extend_below_s: float) -> StoredSession | None:
    """A live session; `extend` says that less than extend_below_s are left of it."""
    row = await database.row("session_find", {"token_hash": token_hash, "extend_below_s": extend_below_s})
    if row is None:
        return None
    return StoredSession(msgspec.convert(row, StoredAccount), row["expires_at"], row["extend"])


async def session_extend(database: Database, token_hash: bytes, lifetime_s: float) -> int | None:
    """The session's new end, ms; None when it was ended meanwhile."""
    row = await database.row("session_extend", {"token_hash": token_hash, "lifetime_s": lifetime_s})
    return int(row["expires_at"]) if row else None


async def session_end(database: Database, token_hash: bytes) -> None:
    await database.rows("session_end", {"token_hash": token_hash})
