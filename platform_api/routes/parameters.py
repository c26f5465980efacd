"""What all routes share: the services they use, query parameters with their bounds, documented errors."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request

from contracts.profiles import Profile, Property
from platform_api.problems import Code, ProblemError
from platform_api.queries.database import LAST_MS, Database
from platform_api.settings import Settings

MAX_ID, MAX_BIG_ID = 2**31 - 1, 2**63 - 1


# async, for what is not runs in a thread: half a millisecond a request
async def database_of(request: Request) -> Database:
    found: Database = request.app.state.database
    return found


async def profiles_of(request: Request) -> dict[str, Profile]:
    found: dict[str, Profile] = request.app.state.profiles
    return found


async def settings_of(request: Request) -> Settings:
    found: Settings = request.app.state.settings
    return found


Stored = Annotated[Database, Depends(database_of)]
Profiles = Annotated[dict[str, Profile], Depends(profiles_of)]
Configured = Annotated[Settings, Depends(settings_of)]

InMunicipality = Annotated[str | None, Query(max_length=32, description="Administrative code.", examples=["41280"])]
OfKind = Annotated[str | None, Query(max_length=48, description="Kind of device.", examples=["streetlight"])]
Page = Annotated[int, Query(ge=1, le=1000, description="Rows of a page, at most.")]
After = Annotated[int | None, Query(ge=0, le=MAX_BIG_ID, description="`next` of the page before.")]
AfterDevice = Annotated[int | None, Query(ge=0, le=MAX_ID, description="`next` of the page before.")]
DeviceNumber = Annotated[int, Path(ge=1, le=MAX_ID)]
BigNumber = Annotated[int, Path(ge=1, le=MAX_BIG_ID)]
AtMs = Annotated[int, Query(ge=0, le=LAST_MS, description="ms since 1970 UTC.")]

_DESCRIPTIONS = {
    401: "Not signed in, or the session has ended",
    403: "The account may not do that",
    404: "Not there, or not in a municipality of the account",
    409: "The present state does not allow it",
    422: "A parameter or member is wrong or unknown",
    429: "Too many failed sign-ins; Retry-After tells when to try again",
    503: "The database (or, for streams, a place) is not to be had; Retry-After tells when to try again",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route: problem details for each status."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": _DESCRIPTIONS[status], "content": content} for status in sorted({*statuses, 422, 503})
    }


READ = errors(401)
READ_ONE = errors(401, 404)
WRITE_ONE = errors(401, 403, 404, 409)


def listed(text: str | None) -> list[str] | None:
    """The words of a comma-separated parameter; None when it is absent or empty."""
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    return words or None


def invalid(name: str, message: str) -> ProblemError:
    """422 for a query parameter."""
    problem = {"where": f"query.{name}", "message": message}
    return ProblemError(Code.INVALID, f"cannot take query.{name}: {message}", errors=[problem])


def chosen(known: Mapping[str, Property], properties: str | None) -> list[Property]:
    """The properties that a parameter names, each once; all when it names none."""
    names = listed(properties) or list(known)
    for name in names:
        if name not in known:
            raise invalid("properties", f"{name!r} is not one of {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)]


def profile_of(profiles: Mapping[str, Profile], kind: str) -> Profile:
    """The profile of a kind that has to be known."""
    if kind not in profiles:
        raise invalid("kind", f"{kind!r} is not one of {', '.join(profiles)}")
    return profiles[kind]
