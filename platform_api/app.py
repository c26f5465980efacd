"""The API's whole story: what it is made of, in which order a request passes it, what starts and stops with it.

    settings, profiles -> create_app -> (lifespan: pool, broker subscription, alarm reader)
    request -> measured -> size limit -> compression -> route (sign-in, permitted municipalities, known parameters)
    -> answer

Every error leaves as problem details (`problems`); every route of /api/v1 wants a session, but for /sign-in.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.profiles import Profile
from platform_api import pages, problems
from platform_api.caller import Failures
from platform_api.exports import Exports
from platform_api.live import AlarmReader, BrokerFile, Subscription
from platform_api.measured import Measured
from platform_api.models.words import Problem
from platform_api.problems import Code, ProblemError
from platform_api.queries.database import Database
from platform_api.rendering import Columns, GeoJson
from platform_api.routes import (
    alarms,
    catalogue,
    detectors,
    devices,
    export,
    health,
    municipality_series,
    quarantine,
    ranked,
    sign_in,
    status,
    stream,
    windows,
)
from platform_api.settings import Database as DatabaseSettings
from platform_api.settings import Settings
from platform_api.stream import Hub

VERSION = "1.0.0"
PREFIX = "/api/v1"
MAX_BODY_BYTES = 64 * 1024
DESCRIPTION = """Devices, observations, alarms and agents of a city-sensor platform that many municipalities share.

Times are integers, ms since 1970 UTC. An account of one municipality sees nothing of another's: not in lists, not
in counts,
not in the stream. Errors are RFC 9457 problem details. Lists are paged by `limit` and `after`; unknown parameters
are refused."""
TAGS = [
    {"name": "sign-in", "description": "Sessions: a bearer token, or an HttpOnly cookie for browsers."},
    {"name": "catalogue", "description": "Kinds of devices, labels, municipalities."},
    {"name": "devices", "description": "Devices with their newest observation, the map, and series over time."},
    {"name": "alarms", "description": "What is wrong, and what people did about it."},
    {"name": "quarantine", "description": "What was refused, and why."},
    {"name": "status", "description": "Agents' health and the platform's status."},
    {"name": "stream", "description": "Server-sent events of what was committed a moment ago."},
    {"name": "health", "description": "Probes and metrics, without sign-in."},
]


def create_app(
    settings: Settings, database: DatabaseSettings, profiles: Mapping[str, Profile], broker: BrokerFile | None = None
) -> FastAPI:
    """The application; connects to nothing before it is started."""
    pool = Database(
        database.url,
        database.schema,
        size=settings.pool_size,
        wait_s=settings.pool_wait_s,
        statement_timeout_s=settings.statement_timeout_s,
    )
    hub = Hub(settings.stream_devices)
    reader = AlarmReader(pool, hub)
    geojson = GeoJson(pool, profiles, settings.map_max_age_s)
    fleet_map = Columns(pool, profiles, settings.map_max_age_s)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await pool.open()
        hub.attach(asyncio.get_running_loop())
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(item)
            for item in (
                reader.run(),
                reader.listen(),
                fleet_map.keep_warm(),
                # half a second's work, which the first question with a parameter would wait for
                asyncio.to_thread(document, app),
            )
        ]
        if app.state.subscription is not None:
            app.state.subscription.start()
        yield
        hub.close()
        await app.state.exports.close()
        if app.state.subscription is not None:
            await asyncio.to_thread(app.state.subscription.stop)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await geojson.kept.close()
        await fleet_map.close()
        await pool.close()

    app = FastAPI(
        title="Dure",
        version=VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.settings, app.state.database, app.state.profiles = settings, pool, dict(profiles)
    app.state.hub, app.state.geojson, app.state.fleet_map, app.state.rates = hub, geojson, fleet_map, status.Rates()
    app.state.failures = Failures(settings.sign_in_failures)
    app.state.exports = Exports(database, settings.exports)
    app.state.metrics = Measured(hub)
    app.state.subscription = Subscription(broker, hub, reader) if broker is not None else None
    app.state.query_names = {}

    known = [Depends(refuse_unknown_parameters)]
    api = APIRouter(prefix=PREFIX, dependencies=known)
    # ranked before devices: its paths look like a device's
    for module in (
        sign_in,
        catalogue,
        municipality_series,
        ranked,
        devices,
        export,
        alarms,
        windows,
        detectors,
        quarantine,
        status,
        stream,
    ):
        api.include_router(module.router)

    @api.get("/openapi.json", include_in_schema=False)
    async def get_openapi_document() -> dict[str, Any]:
        return app.openapi()

    app.include_router(api)
    app.include_router(health.router, dependencies=known)
    folder = Path(settings.dashboard) if settings.dashboard else pages.DIST

    @app.api_route("/{path:path}", methods=["GET", "HEAD"], include_in_schema=False)
    async def get_dashboard(request: Request, path: str) -> Response:
        return await pages.get_page(request, path, folder)

    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    problems.install(app)
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=1)
    app.add_middleware(SizeLimit)
    app.add_middleware(Observed, metrics=app.state.metrics)
    return app


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
        )
        schemas = made["components"]["schemas"]
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs", {}))
        schemas["Problem"] = problem
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = made
    return app.openapi_schema


async def refuse_unknown_parameters(request: Request) -> None:
    """422 for a query parameter that the route does not document."""
    if not request.query_params:
        return
    route = request.scope.get("route")
    names: dict[str, set[str]] = request.app.state.query_names
    if not names:
        for operations in document(request.app)["paths"].values():
            for operation in operations.values():
                parameters = operation.get("parameters", [])
                names[operation["operationId"]] = {item["name"] for item in parameters if item["in"] == "query"}
    known = names.get(route.name, set()) if isinstance(route, APIRoute) else set()
    found = [
        {"where": f"query.{name}", "message": f"unknown; known are {', '.join(sorted(known)) or 'none'}"}
        for name in request.query_params
        if name not in known
    ]
    if found:
        raise ProblemError(Code.INVALID, f"cannot take {found[0]['where']}: {found[0]['message']}", errors=found)


class SizeLimit:
    """413 for bodies beyond MAX_BODY_BYTES, announced or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        detail = f"a body has at most {MAX_BODY_BYTES} bytes"
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            await problems.respond(
                scope["path"], ProblemError(Code.TOO_LARGE, detail, headers={"Connection": "close"})
            )(scope, receive, send)
            return
        taken = 0

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAX_BODY_BYTES:
                raise HTTPException(413, detail)  # the framework lets only its own exceptions through here
            return message

        await self._app(scope, limited, send)


class Observed:
    """Counts and times each request under its route, and adds the headers that every answer has."""

    def __init__(self, app: ASGIApp, metrics: Measured) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s, seen = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal seen
            if message["type"] == "http.response.start":
                seen = message["status"]
                names = {name for name, _ in message["headers"]}
                extra = [(b"x-content-type-options", b"nosniff")]
                if b"cache-control" not in names:
                    extra.append((b"cache-control", b"private, no-cache"))
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = scope.get("route")
            path = route.path if isinstance(route, APIRoute) else "other"
            if scope["path"].startswith(PREFIX) and isinstance(route, APIRoute) and not path.startswith(PREFIX):
                path = PREFIX + path  # an included router's route knows its own part only
            self._metrics.requests.labels(path, scope["method"], str(seen)).inc()
            if not path.endswith("/stream"):
                self._metrics.seconds.labels(path).observe(time.perf_counter() - began_s)
