"""Signing in and out."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials

from platform_api import caller, passwords
from platform_api.caller import COOKIE, SignedIn
from platform_api.models.sign_in import Account, Session, SignIn
from platform_api.models.sign_in import SignedIn as SignedInAnswer
from platform_api.problems import Code, ProblemError
from platform_api.queries import accounts
from platform_api.routes.parameters import Configured, Stored, errors

router = APIRouter(tags=["sign-in"])
_hashing = asyncio.Semaphore(2)  # 16 MB and ~50 ms of one core each


@router.post("/sign-in", responses=errors(401, 403, 429), summary="Sign in")
async def sign_in(
    given: SignIn, request: Request, response: Response, database: Stored, settings: Configured
) -> SignedInAnswer:
    """A token for `Authorization: Bearer`, and the same as an HttpOnly cookie. It lives as long as it is used."""
    caller.refuse_other_sites(request, header_needed=False)
    failures: caller.Failures = request.app.state.failures
    address = caller.address_of(request)
    wait_s = failures.retry_after_s(given.name, address, caller.seconds())
    if wait_s > 0:
        headers = {"Retry-After": str(int(wait_s) + 1)}
        raise ProblemError(Code.TOO_MANY_SIGN_INS, f"wait {int(wait_s) + 1} s before the next try", headers=headers)
    failures.add(given.name, address, caller.seconds())  # before the slow part, so that parallel tries count
    found = await accounts.account_by_name(database, given.name)
    async with _hashing:
        good = await asyncio.to_thread(passwords.verify, given.password, found.password_hash if found else None)
    if found is None or not good:
        raise ProblemError(
            Code.WRONG_CREDENTIALS, "no account has this name and password", headers={"WWW-Authenticate": "Bearer"}
        )
    failures.forget(given.name, address)
    token, stored = caller.new_token()
    lifetime_s = settings.session_h * 3600
    expires_at = await accounts.session_add(database, stored, found.account_id, lifetime_s)
    response.set_cookie(
        COOKIE, token, httponly=True, samesite="strict", path="/", max_age=30 * 86_400,
        secure=settings.secure_cookie or request.url.scheme == "https",
    )  # fmt: skip
    response.headers["Cache-Control"] = "no-store"
    return SignedInAnswer(token=token, expires_at=expires_at, account=Account(**caller.described(found)))


@router.post("/sign-out", status_code=204, responses=errors(401, 403), summary="Sign out")
async def sign_out(
    request: Request,
    response: Response,
    database: Stored,
    _session: SignedIn,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(caller.bearer)],
) -> None:
    """Ends the session of the token or cookie, streams included."""
    token = caller.presented(request, given)
    if token is not None:
        await accounts.session_end(database, caller.token_hash(token))
    response.delete_cookie(COOKIE, path="/")


@router.get("/session", responses=errors(401), summary="Who is signed in")
async def get_session(session: SignedIn) -> Session:
    return Session(expires_at=session.expires_at, account=Account(**caller.described(session.account)))
