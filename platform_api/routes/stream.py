"""The live stream (server-sent events): what was committed a moment ago, paced, and only as fast as the client reads.

Events: `hello`, `observations`, `alarms`, `stale`. What a slow client has not read is coalesced to the newest of
each device;
a client that reads nothing for `stream_stall_s` is disconnected.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials

from platform_api import caller
from platform_api.caller import SignedIn
from platform_api.patience import Patient
from platform_api.problems import Code, ProblemError
from platform_api.queries import accounts
from platform_api.queries.database import DatabaseAwayError, DatabaseBusyError, SchemaMissingError
from platform_api.routes.parameters import Configured, InMunicipality, errors
from platform_api.stream import Client, Hub

router = APIRouter(tags=["stream"])
KEEP_ALIVE_S = 15.0
ROWS_AN_EVENT = 2000

_EXAMPLE = """event: hello
data: {"as_of":1760000000000,"missed":false}

event: observations
data: {"streetlight":{"device_id":[7],"observed_at":[1760000001000],"power_state":["on"],"voltage":[221.5]}}

event: alarms
data: [{"alarm_id":1,"device_id":7,"condition":"stuck:voltage","severity":2,"state":"open"}]

: keep-alive

event: stale
data: {"since":1760000031000}
"""


def event_stream(content: AsyncIterator[bytes], stall_s: float) -> Patient:
    """The answer that carries events."""
    return Patient(content, stall_s, "text/event-stream", {"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


@router.get(
    "/stream",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events, until the client leaves or the session ends",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
        **errors(401),
    },
    summary="Live stream",
)
async def get_stream(
    request: Request,
    session: SignedIn,
    settings: Configured,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(caller.bearer)],
    municipality: InMunicipality = None,
) -> Patient:
    """`hello` {as_of, missed}: everything committed after as_of follows; missed: load the map again.
    `observations`: the newest of each changed device, as columns by kind. `alarms`: changed alarms, whole.
    `stale` {since}: the platform itself hears nothing at the moment; a `hello` ends it."""
    hub: Hub = request.app.state.hub
    if len(hub.clients) >= settings.stream_clients:
        raise ProblemError(
            Code.STREAMS_FULL, f"{settings.stream_clients} streams are open", headers={"Retry-After": "10"}
        )
    permitted = session.account.permitted
    if municipality is not None:
        permitted = [municipality] if permitted is None or municipality in permitted else []
    client, as_of = hub.join(None if permitted is None else frozenset(permitted))
    token = caller.presented(request, given) or ""
    return event_stream(
        _events(request, hub, client, as_of, token, settings.stream_period_ms / 1000), settings.stream_stall_s
    )


async def _events(
    request: Request, hub: Hub, client: Client, as_of: int, token: str, period_s: float
) -> AsyncIterator[bytes]:
    """The stream of one client."""
    checked_s = time.monotonic()
    try:
        yield _event("hello", {"as_of": as_of, "missed": False})
        if not hub.connected:
            yield _event("stale", {"since": hub.changed_at_ms or as_of})
        while not hub.closing:
            sent = False
            if client.generation != hub.generation:
                client.generation, sent = hub.generation, True
                now_ms = int(time.time() * 1000)
                if hub.connected:
                    client.missed = False
                    yield _event("hello", {"as_of": now_ms, "missed": True})
                else:
                    yield _event("stale", {"since": hub.changed_at_ms})
            alarms = hub.take_alarms(client, ROWS_AN_EVENT // 10)
            observations = hub.take(client, ROWS_AN_EVENT)
            if client.missed:
                client.missed, sent = False, True
                yield _event("hello", {"as_of": int(time.time() * 1000), "missed": True})
            if alarms:
                sent = True
                yield _event("alarms", alarms)
            if observations:
                sent = True
                yield _event("observations", observations)
            now_s = time.monotonic()
            if now_s - checked_s >= KEEP_ALIVE_S:
                checked_s = now_s
                if not await _still_signed_in(request, token):
                    return
                yield b": keep-alive\n\n"
            if sent:
                await asyncio.sleep(period_s)
            else:
                await hub.changed(max(0.05, KEEP_ALIVE_S - (now_s - checked_s)))
    finally:
        hub.leave(client)


async def _still_signed_in(request: Request, token: str) -> bool:
    """Whether the session lives; a database that is away ends no stream."""
    try:
        return await accounts.session_find(request.app.state.database, caller.token_hash(token), 0.0) is not None
    except (DatabaseAwayError, DatabaseBusyError, SchemaMissingError):
        return True


def _event(name: str, data: Mapping[str, Any] | list[dict[str, Any]]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))
