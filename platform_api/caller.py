"""Who calls: the account behind a token or cookie, what it may do, and protection of the cookie from other sites.

Tokens are random, stored as SHA-256 only, and live as long as they are used. Failed sign-ins are counted by account and
address, in this process.
"""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from platform_api.models.words import Role
from platform_api.problems import Code, ProblemError
from platform_api.queries import accounts
from platform_api.queries.accounts import StoredAccount, StoredSession

COOKIE = "dure_session"
SAFE = ("GET", "HEAD", "OPTIONS")
RANK: dict[Role, int] = {"operator": 0, "engineer": 1, "admin": 2}

bearer = HTTPBearer(auto_error=False, description="The token that /sign-in gave.")
cookie = APIKeyCookie(name=COOKIE, auto_error=False, description="Set by /sign-in; HttpOnly, SameSite=Strict.")


def new_token() -> tuple[str, bytes]:
    """A token and what is stored of it."""
    token = secrets.token_urlsafe(32)
    return token, token_hash(token)


def token_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class Failures:
    """Failed sign-ins of the last minute, by (account, address); the newest 10,000 pairs."""

    WINDOW_S, MAX_KEYS = 60.0, 10_000

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed
        self._times: OrderedDict[tuple[str, str], list[float]] = OrderedDict()

    def retry_after_s(self, name: str, address: str, now_s: float) -> float:
        """Seconds until another try is allowed; 0 now."""
        times = [at for at in self._times.get((name, address), []) if now_s - at < self.WINDOW_S]
        return max(0.0, times[-self._allowed] + self.WINDOW_S - now_s) if len(times) >= self._allowed else 0.0

    def add(self, name: str, address: str, now_s: float) -> None:
        key = (name, address)
        self._times[key] = [at for at in self._times.get(key, []) if now_s - at < self.WINDOW_S] + [now_s]
        self._times.move_to_end(key)
        while len(self._times) > self.MAX_KEYS:
            self._times.popitem(last=False)

    def forget(self, name: str, address: str) -> None:
        self._times.pop((name, address), None)


def presented(request: Request, given: HTTPAuthorizationCredentials | None) -> str | None:
    """The token of a request: a bearer goes before the cookie."""
    return given.credentials if given is not None else request.cookies.get(COOKIE)


def refuse_other_sites(request: Request, *, header_needed: bool) -> None:
    """Raise unless an unsafe request comes from our own pages or carries X-Dure, which other sites cannot send."""
    origin = request.headers.get("origin")
    same = origin is not None and urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
    if same or "x-dure" in request.headers or (origin is None and not header_needed):
        return
    raise ProblemError(Code.CROSS_SITE, "send it from the dashboard's own origin, or with an X-Dure header")


async def find_session(request: Request, token: str | None) -> StoredSession:
    """The live session of a token, extended when it is used; raises when there is none."""
    if token is None:
        raise ProblemError(Code.SIGN_IN_REQUIRED, "no token and no cookie", headers={"WWW-Authenticate": "Bearer"})
    lifetime_s = request.app.state.settings.session_h * 3600
    database, stored = request.app.state.database, token_hash(token)
    session = await accounts.session_find(database, stored, lifetime_s * 11 / 12)
    if session is None:
        detail = "the session has ended, or never was"
        raise ProblemError(Code.SIGN_IN_REQUIRED, detail, headers={"WWW-Authenticate": "Bearer"})
    if session.extend:
        expires_at = await accounts.session_extend(database, stored, lifetime_s)
        session = StoredSession(session.account, expires_at or session.expires_at, False)
    return session


async def signed_in(
    request: Request,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    _cookie: Annotated[str | None, Depends(cookie)],
) -> StoredSession:
    """The session of the request."""
    session = await find_session(request, presented(request, given))
    if given is None and request.method not in SAFE:
        refuse_other_sites(request, header_needed=True)
    return session


async def account(session: Annotated[StoredSession, Depends(signed_in)]) -> StoredAccount:
    """The account of the request."""
    return session.account


def at_least(role: Role) -> Callable[..., Awaitable[StoredAccount]]:
    """A dependency that lets through accounts of this role or above."""

    async def check(found: Annotated[StoredAccount, Depends(account)]) -> StoredAccount:
        if RANK[found.role] < RANK[role]:
            raise ProblemError(Code.NOT_PERMITTED, f"this needs the role {role!r}; the account is {found.role!r}")
        return found

    return check


SignedIn = Annotated[StoredSession, Depends(signed_in)]
Caller = Annotated[StoredAccount, Depends(account)]
Engineer = Annotated[StoredAccount, Depends(at_least("engineer"))]


def seconds() -> float:
    """The clock of `Failures`."""
    return time.monotonic()


def address_of(request: Request) -> str:
    return request.client.host if request.client else ""


def described(found: StoredAccount) -> dict[str, Any]:
    """An account as the API shows it."""
    return {"name": found.name, "role": found.role, "municipality": found.municipality, "language": found.language}
