"""Observations of any span as a file, streamed."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from contracts import topics
from platform_api.caller import Caller
from platform_api.exports import ExportFailed, ExportRefused, Exports, ExportsFull
from platform_api.patience import Patient
from platform_api.problems import Code, ProblemError
from platform_api.routes.parameters import AtMs, Configured, InMunicipality, Profiles, errors, listed

router = APIRouter(tags=["devices"])
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
MOST_DEVICES = 100


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The file, as long as it takes; it is complete when the last chunk has come",
            "content": {"text/csv": {}, "application/vnd.apache.parquet": {}},
        },
        **errors(401, 404),
    },
    summary="Observations of any span, as a file",
)
async def get_export(
    account: Caller,
    request: Request,
    profiles: Profiles,
    settings: Configured,
    kind: Annotated[str, Query(max_length=48, description="Kind of device.", examples=["streetlight"])],
    format: Annotated[Literal["csv", "parquet"], Query(description="Of the file.")] = "csv",
    municipality: InMunicipality = None,
    device: Annotated[
        str | None, Query(max_length=4000, description="Names of devices, separated by commas; all by default.")
    ] = None,
    from_: Annotated[AtMs | None, Query(alias="from", description="Begin; the oldest by default.")] = None,
    to: Annotated[AtMs | None, Query(description="End, not included; the newest by default.")] = None,
) -> Response:
    """All observations of a kind that the account may see, ordered by time, municipality and device; what `dure export`
    writes and `dure import` reads. Only so many exports run at a time."""
    if kind not in profiles:
        raise _invalid("kind", f"no such kind; known are {', '.join(profiles)}")
    if from_ is not None and to is not None and from_ >= to:
        raise _invalid("from", f"{from_} is not before to = {to}")
    names = listed(device) or []
    if len(names) > MOST_DEVICES:
        raise _invalid("device", f"{len(names)} names; {MOST_DEVICES} at most")
    towns = account.permitted
    if municipality is not None:
        if (towns is not None and municipality not in towns) or not topics.is_municipality(municipality):
            raise ProblemError(Code.NOT_FOUND, f"there is no municipality {municipality!r}")
        towns = [municipality]
    arguments = [f"--kind={kind}", f"--format={format}"]
    arguments += [f"--municipality={town}" for town in towns or []]
    arguments += [f"--device={name}" for name in names]
    arguments += [f"--from={from_:09}"] if from_ is not None else []
    arguments += [f"--to={to:09}"] if to is not None else []
    exports: Exports = request.app.state.exports
    try:
        process, first = await exports.begin(arguments)
    except ExportsFull:
        detail = f"{settings.exports} exports are under way"
        raise ProblemError(Code.EXPORTS_FULL, detail, headers={"Retry-After": "30"}) from None
    except ExportRefused:
        raise ProblemError(Code.NOT_FOUND, "there is no such municipality, or no such device in it") from None
    except ExportFailed:
        detail = "the export could not begin; nothing is lost"
        raise ProblemError(Code.DATABASE_AWAY, detail, headers={"Retry-After": "2"}) from None
    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{kind}.{format}"',
        "Content-Encoding": "identity",  # or the middleware would compress it, in the event loop
        "X-Accel-Buffering": "no",
    }
    return Patient(exports.stream(process, first), settings.stream_stall_s, MEDIA_TYPES[format], headers)


def _invalid(name: str, message: str) -> ProblemError:
    problem: dict[str, Any] = {"where": f"query.{name}", "message": message}
    return ProblemError(Code.INVALID, f"cannot take query.{name}: {message}", errors=[problem])
