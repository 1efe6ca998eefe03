"""The REST API: `POST /v1/see` and `/v1/features`, probes and metrics; it gives programs the same scene as the page.

A request waits for its turn like a tab. If too many requests wait already, the response 503 says when to retry. Bodies
are multipart forms: `curl -F images=@a.jpg -F want=depth http://localhost:8000/v1/see`.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
from fastapi import FastAPI, File, Form, Query, Request, Response, UploadFile
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from codistill.errors import CodistillError, DataError, unknown_name
from codistill.serve.facts import public
from codistill.serve.look import Looker
from codistill.serve.messages import MAX_NAME, MessageError, Picture
from codistill.serve.worker import BusyError, SlowError
from codistill.version import __version__

if TYPE_CHECKING:
    from codistill.perception.scene import Scene

Result = TypeVar("Result")
Files = Annotated[list[UploadFile], File(description="JPEG, PNG, WebP, … of one or several pictures")]
As = Annotated[Literal["json", "npz"], Query(alias="as", description="numbers alone, or arrays too")]


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str = Field(description="what was given, what is allowed, and what to do")


class Health(BaseModel):
    """Whether the server answers, and what it does."""

    status: Literal["ok", "stuck"]
    version: str
    tabs: int
    waiting: int
    busy_seconds: float


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "not a picture, too large, or an unknown answer or field",
        401: "the token is missing",
        408: "the body did not come in time",
        413: "the body is too long",
        503: "too many others ask",
        504: "computing took too long",
    }.items()
}
_NPZ = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_RESPONSES = {**_PROBLEMS, 200: {"content": _NPZ, "description": "JSON, or an .npz file with `as=npz`"}}
_STATUS = {BusyError: 503, SlowError: 504}


def add_rest(app: FastAPI, looker: Looker) -> None:
    """Add the REST routes to `app`."""

    @app.post("/v1/see", responses=_RESPONSES, tags=["see"])
    async def see(
        request: Request,
        images: Files,
        want: Annotated[list[str], Form(description="answers by name; none: all that there are")] = [],  # noqa: B006
        form: As = "json",
    ) -> Response:
        """Everything that one look gives: one encoder pass per picture, then the wanted heads.

        JSON has the numbers: timings, classes with their shares, depth's range, people, cameras. `as=npz` has the
        arrays too (class maps, metres, normals, vertices, matches); its array `scene` is the JSON, in UTF-8.
        """
        await _refuse_unknown(request, ("images", "want"))
        pictures = await _pictures(images, looker)
        wanted = looker.check_want(tuple(want) or tuple(looker.kinds), len(pictures))
        for name in set(want) - set(wanted):
            raise MessageError(f"{name} sees several pictures of one place; one came: send more as images")
        return await _run(looker, partial(_see, looker, pictures, wanted, form))

    @app.post("/v1/features", responses=_RESPONSES, tags=["see"])
    async def features(request: Request, images: Files, form: As = "npz") -> Response:
        """The encoder's tokens: `patches_0` (patch, channel), `cls_0`, `registers_0`, `grid_0` for each picture.

        `as=json` says shapes alone.
        """
        await _refuse_unknown(request, ("images",))
        pictures = await _pictures(images, looker)
        return await _run(looker, partial(_features, looker, pictures, form))

    @app.get("/healthz", tags=["operate"], responses={503: {"model": Health, "description": "stuck"}})
    async def healthz(response: Response) -> Health:
        """For load balancers: 503 where one computation has been under way for far too long."""
        busy = looker.worker.busy_seconds()
        stuck = busy > 2 * looker.settings.seconds
        response.status_code = 503 if stuck else 200
        tabs = int(looker.meters.tabs._value.get())
        return Health(
            status="stuck" if stuck else "ok",
            version=__version__,
            tabs=tabs,
            waiting=looker.worker.waiting,
            busy_seconds=round(busy, 3),
        )

    @app.get("/metrics", tags=["operate"], response_class=Response, responses={401: _PROBLEMS[401]})
    async def metrics() -> Response:
        """Counters and histograms, as Prometheus text."""
        return Response(looker.meters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.exception_handler(CodistillError)
    async def refuse(request: Request, error: CodistillError) -> JSONResponse:
        reason = "picture" if isinstance(error, DataError) else type(error).__name__
        looker.refused(reason, f"{request.url.path}: {error}")
        status = _STATUS.get(type(error), 400)
        headers = {"retry-after": "2"} if status == 503 else {}
        return JSONResponse({"detail": str(error)}, status, headers=headers)


async def _refuse_unknown(request: Request, fields: Sequence[str]) -> None:
    """Refuse parameters and fields of the form that would have no effect."""
    both = (("address", request.query_params, ("as",)), ("form", await request.form(), fields))
    for part, names, known in both:
        for name in names:
            if name not in known:
                raise MessageError(f"in the {part}: {unknown_name('field', name[:MAX_NAME], known)}")


async def _pictures(files: list[UploadFile], looker: Looker) -> list[Picture]:
    limit = looker.settings.max_images
    if len(files) > limit:
        raise MessageError(f"{len(files)} pictures; one request has at most {limit}")
    names = [(file.filename or f"picture {i + 1}")[:MAX_NAME] for i, file in enumerate(files)]
    return [Picture(name, await file.read()) for name, file in zip(names, files, strict=True)]


async def _run(looker: Looker, work: Callable[[], Result]) -> Result:
    if looker.worker.waiting >= looker.settings.max_waiting:
        raise BusyError(f"{looker.worker.waiting} others wait already; try again in some seconds")
    return await looker.worker.compute(lambda: work)


def _look(looker: Looker, pictures: list[Picture], want: tuple[str, ...]) -> "Scene":
    images = [looker.read(picture, None) for picture in pictures]
    return looker.perception(images, want=want, names=[picture.name for picture in pictures])


def _see(looker: Looker, pictures: list[Picture], want: tuple[str, ...], form: str) -> Response:
    scene = _look(looker, pictures, want)
    looker.meters.observe("rest", dict(scene.seconds))
    described = public(scene.as_json())
    if form == "json":
        return JSONResponse(described)
    text = np.frombuffer(json.dumps(described).encode(), dtype=np.uint8)
    return _npz(scene.arrays() | {"scene": text}, "scene.npz")


def _features(looker: Looker, pictures: list[Picture], form: str) -> Response:
    scene = _look(looker, pictures, ())
    looker.meters.observe("features", dict(scene.seconds))
    arrays: dict[str, np.ndarray] = {}
    for number in range(len(scene)):
        tokens = scene.tokens[number]
        parts = {"patches": tokens.patches, "cls": tokens.cls, "registers": tokens.registers}
        for name, values in parts.items():
            if values is not None:
                arrays[f"{name}_{number}"] = values[0].float().cpu().numpy()
        arrays[f"grid_{number}"] = np.asarray(tokens.grid)
    if form == "npz":
        return _npz(arrays, "features.npz")
    shapes = {name: list(values.shape) for name, values in arrays.items()}
    return JSONResponse({"names": list(scene.names), "shapes": shapes, "seconds": dict(scene.seconds)})


def _npz(arrays: Mapping[str, Any], name: str) -> Response:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(buffer.getvalue(), media_type="application/octet-stream", headers=headers)
