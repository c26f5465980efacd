"""Whether the process lives, whether it can serve, and its metrics; without sign-in, for probes on the inner
network."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from platform_api.models.status import Health, Ready
from platform_api.problems import Code, ProblemError
from platform_api.queries.database import Database, DatabaseAwayError, DatabaseBusyError, SchemaMissingError
from platform_api.queries.municipalities import schema_state
from platform_api.routes.parameters import errors
from platform_api.stream import Hub

router = APIRouter(tags=["health"])
SCHEMA_VERSION = 1  # the oldest migration whose tables these statements fit


@router.get("/health", summary="Whether the process lives")
async def get_health() -> Health:
    return Health(alive=True)


@router.get("/ready", responses=errors(), summary="Whether it can serve")
async def get_ready(request: Request) -> Ready:
    """Database reachable, its schema new enough and with a table for every kind, broker connected; 503 says what
    is not."""
    why = await database_lacks(request.app.state.database, set(request.app.state.profiles))
    hub: Hub = request.app.state.hub
    broker = (
        "connected"
        if hub.connected
        else "not configured"
        if request.app.state.subscription is None
        else "not connected"
    )
    if broker == "not connected":
        why.append("the broker is not connected: streams are stale")
    if why:
        raise ProblemError(Code.NOT_READY, "; ".join(why), headers={"Retry-After": "2"})
    return Ready(ready=True, database="reachable", broker=broker)


async def database_lacks(database: Database, kinds: set[str]) -> list[str]:
    """What keeps the database from serving; empty when nothing does."""
    try:
        version, made = await schema_state(database)
    except SchemaMissingError:
        return [f"schema {database.schema!r} is not there: run `dure migrate`"]
    except DatabaseBusyError as error:
        return [f"the database takes too long to answer: {error}"]
    except DatabaseAwayError:
        words = await database.refusal()
        return [f"the database cannot be reached: {words}" if words else "the database was away a moment ago"]
    why = []
    if version < SCHEMA_VERSION:
        why.append(f"the schema is at version {version}, {SCHEMA_VERSION} is needed: run `dure migrate`")
    if missing := sorted(kinds - made):
        why.append(f"there are no tables for {', '.join(missing)}: run `dure migrate`")
    return why


@router.get("/metrics", response_class=Response, summary="Metrics for Prometheus")
async def get_metrics(request: Request) -> Response:
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
