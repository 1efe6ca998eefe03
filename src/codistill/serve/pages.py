"""Serve the page's files, which are read once at the start, so that no path is ever made from a request."""

import hashlib
import mimetypes
from dataclasses import dataclass
from importlib import resources

from fastapi import FastAPI, HTTPException, Request, Response

from codistill.serve.samples import Samples

_STATIC = resources.files("codistill.serve") / "static"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class _File:
    data: bytes
    kind: str
    mark: str


def add_pages(app: FastAPI, samples: Samples) -> None:
    """Add routes to `app`: the page at /, its files, the sample pictures, and the API's documentation at /docs."""
    files = {
        entry.name: _read(entry.name, entry.read_bytes()) for entry in _STATIC.iterdir() if entry.is_file()
    }
    pictures = {
        name: _read(f"{name}.jpg", samples.data(name)) for entry in samples.entries for name in entry.pictures
    }

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return _answer(files.get("index.html"), request)

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return _answer(files.get("docs.html"), request)

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str, request: Request) -> Response:
        return _answer(files.get(name), request)

    @app.get("/samples/{name}", include_in_schema=False)
    async def sample(name: str, request: Request) -> Response:
        return _answer(pictures.get(name), request)


def _read(name: str, data: bytes) -> _File:
    suffix = name[name.rfind(".") :]
    kind = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return _File(data, kind, f'"{hashlib.sha256(data).hexdigest()[:16]}"')


def _answer(file: _File | None, request: Request) -> Response:
    if file is None:
        raise HTTPException(404, "there is no such page")
    headers = {"etag": file.mark, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == file.mark:
        return Response(status_code=304, headers=headers)
    return Response(file.data, media_type=file.kind, headers=headers)
