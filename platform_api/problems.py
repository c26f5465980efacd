"""Errors of the API: one shape (RFC 9457 problem details) for every one of them, and the closed list of their codes.

Owns the codes, titles and the handlers. Routes raise `ProblemError`; what the framework or the database raises is
translated here. Details never quote a secret or another municipality's names.
"""

from enum import Enum
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from contracts.log import log
from platform_api.queries.database import DatabaseAwayError, DatabaseBusyError, SchemaMissingError

MEDIA_TYPE = "application/problem+json"


class Code(Enum):
    """type = urn:dure:problem:<code>; (status, title)."""

    SIGN_IN_REQUIRED = (401, "Sign in first")
    WRONG_CREDENTIALS = (401, "Name or password is wrong")
    NOT_PERMITTED = (403, "This account may not do that")
    CROSS_SITE = (403, "Request comes from another site")
    NOT_FOUND = (404, "Not found")
    METHOD_NOT_ALLOWED = (405, "Method not allowed")
    CONFLICT = (409, "The present state does not allow it")
    TOO_LARGE = (413, "Request is too large")
    INVALID = (422, "Request is invalid")
    TOO_MANY_SIGN_INS = (429, "Too many failed sign-ins")
    INTERNAL = (500, "Internal error")
    DATABASE_AWAY = (503, "Database cannot be reached")
    DATABASE_BUSY = (503, "Database took too long")
    SCHEMA_MISSING = (503, "Database has no or an old schema")
    NOT_READY = (503, "Not ready")
    STREAMS_FULL = (503, "Too many open streams")
    EXPORTS_FULL = (503, "Too many exports under way")
    OTHER = (400, "Request cannot be answered")

    @property
    def urn(self) -> str:
        return f"urn:dure:problem:{self.name.lower().replace('_', '-')}"


class ProblemError(Exception):
    """An error that a client is told."""

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        errors: list[dict[str, str]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code, self.detail, self.errors, self.headers = code, detail, errors, headers or {}


def respond(path: str, problem: ProblemError, status: int | None = None, title: str | None = None) -> Response:
    """The answer for a problem."""
    body: dict[str, Any] = {
        "type": problem.code.urn,
        "title": title or problem.code.value[1],
        "status": status or problem.code.value[0],
        "detail": problem.detail,
        "instance": path,
    }
    if problem.errors is not None:
        body["errors"] = problem.errors
    return Response(
        msgspec.json.encode(body),
        status_code=body["status"],
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **problem.headers},
    )


def of_database(error: Exception) -> ProblemError:
    """What a client is told when the database fails; the server's own words stay in the log."""
    retry = {"Retry-After": "2"}
    if isinstance(error, DatabaseBusyError):
        return ProblemError(
            Code.DATABASE_BUSY, "the database did not answer in time; ask for less, or later", headers=retry
        )
    if isinstance(error, SchemaMissingError):
        return ProblemError(Code.SCHEMA_MISSING, "a table is missing; run `dure migrate`", headers=retry)
    return ProblemError(
        Code.DATABASE_AWAY, "the database cannot be reached at the moment; nothing is lost", headers=retry
    )


def install(app: FastAPI) -> None:
    """Have every error answered in the one shape."""

    async def problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)
        return respond(request.url.path, error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = [
            {"where": ".".join(str(part) for part in item["loc"]), "message": str(item["msg"])}
            for item in error.errors()
        ]
        first = found[0] if found else {"where": "request", "message": "invalid"}
        detail = f"cannot take {first['where']}: {first['message']}"
        return respond(request.url.path, ProblemError(Code.INVALID, detail, errors=found))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if error.status_code == 404:
            return respond(
                request.url.path, ProblemError(Code.NOT_FOUND, f"there is no {request.url.path!r}", headers=headers)
            )
        if error.status_code == 405:
            detail = f"{request.method} is not possible here"
            return respond(request.url.path, ProblemError(Code.METHOD_NOT_ALLOWED, detail, headers=headers))
        if error.status_code == 413:
            return respond(
                request.url.path, ProblemError(Code.TOO_LARGE, str(error.detail), headers={"Connection": "close"})
            )
        other = ProblemError(Code.OTHER, str(error.detail), headers=headers)
        return respond(request.url.path, other, error.status_code, HTTPStatus(error.status_code).phrase)

    async def database(request: Request, error: Exception) -> Response:
        return respond(request.url.path, of_database(error))

    async def internal(request: Request, error: Exception) -> Response:
        log("request failed", level="error", method=request.method, path=request.url.path, error=repr(error))
        return respond(request.url.path, ProblemError(Code.INTERNAL, "a bug or a lost dependency; the log says more"))

    app.add_exception_handler(ProblemError, problem)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    for lost in (DatabaseAwayError, DatabaseBusyError, SchemaMissingError):
        app.add_exception_handler(lost, database)
    app.add_exception_handler(Exception, internal)
