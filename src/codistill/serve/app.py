"""The ASGI application: page, WebSocket, REST API, and the middleware that protects them.

In: a perception and settings. Out: an ASGI application.

app = create_app(perception, ServeSettings())        # uvicorn, or any ASGI server, runs it
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.websockets import WebSocket

from codistill.serve.body_limit import BodyLimit
from codistill.serve.guard import Guard
from codistill.serve.look import Looker
from codistill.serve.pages import add_pages
from codistill.serve.rest import add_rest
from codistill.serve.samples import Samples
from codistill.serve.settings import ServeSettings
from codistill.serve.tabs import TRY_LATER, Tab
from codistill.version import __version__

if TYPE_CHECKING:
    from codistill.perception.perception import Perception

DESCRIPTION = "One encoder pass per picture, every answer: segmentation, depth, normals, people, 3-D."


def create_app(perception: "Perception", settings: ServeSettings) -> FastAPI:
    """Create the application of a server.

    Args:
        perception: encoder and heads.
        settings: limits of the server.
    """
    samples = Samples()
    looker = Looker(perception, settings, samples)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        looker.worker.close()

    app = FastAPI(
        title="codistill",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.looker = looker
    add_pages(app, samples)
    add_rest(app, looker)
    _add_socket(app, looker)
    app.add_middleware(
        BodyLimit, max_body=settings.max_body, seconds=settings.seconds, refused=looker.refused
    )
    app.add_middleware(Guard, settings=settings, refused=looker.refused)
    return app


def _add_socket(app: FastAPI, looker: Looker) -> None:
    numbers = itertools.count(1)
    tabs: set[int] = set()

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None:
        number = next(numbers)
        tab = Tab(socket, looker, number)
        if len(tabs) >= looker.settings.max_clients:
            await socket.accept()
            await tab.leave(TRY_LATER, "clients", f"{len(tabs)} tabs are open, which is all that are allowed")
            return
        tabs.add(number)
        looker.meters.tabs.set(len(tabs))
        try:
            await tab.run()
        finally:
            tabs.discard(number)
            looker.meters.tabs.set(len(tabs))
