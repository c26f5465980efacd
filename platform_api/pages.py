"""The dashboard's built files at /, with the headers that a browser needs: caching, content security, the page for
every path.

Files under assets/ carry a hash in their name and are kept for a year; everything else is asked for again. A path
without a
file is the dashboard's own page (it routes itself), but never below /api.
"""

import hashlib
import mimetypes
from pathlib import Path, PurePosixPath

from fastapi import Request, Response
from starlette.responses import FileResponse

from platform_api.problems import Code, ProblemError

DIST = Path(__file__).parent / "dashboard" / "dist"
HEADERS = {
    # MapLibre makes its worker from a blob and its images from data; nothing comes from another origin.
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; worker-src 'self' blob:; child-src blob:; style-src 'self' 'unsafe-inline'; "  # noqa: E501
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(self)",
    "Cross-Origin-Opener-Policy": "same-origin",
}
MISSING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Dure</title>
<body style="font:16px/1.6 sans-serif;max-width:40em;margin:4em auto;padding:0 1em">
<h1>The dashboard is not built</h1>
<p>The API runs. To build the dashboard: <code>./run setup</code>, or by hand
<code>npm ci &amp;&amp; npm run build</code> in <code>platform_api/dashboard</code> (Node 20 or newer).</p>
<p>대시보드가 아직 빌드되지 않았습니다. <code>./run setup</code>을 실행하세요.</p>
</body></html>
"""

mimetypes.add_type("font/woff2", ".woff2")
mimetypes.add_type("application/x-protobuf", ".pbf")
mimetypes.add_type("text/javascript", ".js")


async def get_page(request: Request, path: str, folder: Path) -> Response:
    """The file, the dashboard's page, or how to build it."""
    parts = PurePosixPath(path).parts
    if parts[:1] == ("api",):
        raise ProblemError(Code.NOT_FOUND, f"there is no {request.url.path!r}")
    file = folder / path
    inside = (
        ".." not in parts and not any(part.startswith(".") for part in parts) and "\0" not in path and "\\" not in path
    )
    if path and inside and file.is_file() and file.resolve().is_relative_to(folder.resolve()):  # noqa: ASYNC240 - a stat, no reading
        kept = "public, max-age=31536000, immutable" if parts[0] == "assets" else "no-cache"
        return _conditional(request, FileResponse(file, headers={**HEADERS, "Cache-Control": kept}), file)
    if parts[:1] == ("assets",) or PurePosixPath(path).suffix:
        raise ProblemError(Code.NOT_FOUND, f"there is no {request.url.path!r}")
    index = folder / "index.html"
    headers = {**HEADERS, "Cache-Control": "no-cache"}
    if not index.is_file():
        return Response(MISSING, status_code=503, media_type="text/html", headers={**headers, "Retry-After": "60"})
    return _conditional(request, FileResponse(index, media_type="text/html", headers=headers), index)


def _conditional(request: Request, response: FileResponse, file: Path) -> Response:
    """304 when the browser has it."""
    seen = file.stat()
    etag = (
        f'W/"{hashlib.blake2b(f"{file.name}-{seen.st_size}-{seen.st_mtime_ns}".encode(), digest_size=12).hexdigest()}"'
    )
    response.headers["etag"] = etag
    if etag in (word.strip() for word in request.headers.get("if-none-match", "").split(",")):
        kept = {
            key: value
            for key, value in response.headers.items()
            if key in ("cache-control", "content-security-policy", "etag")
        }
        return Response(status_code=304, headers=kept)
    return response
