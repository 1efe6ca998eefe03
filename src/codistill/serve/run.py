"""Run the server: optional warm-up, a warning if other machines can connect, then serve until it is stopped."""

import errno
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn

from codistill.errors import ConfigError
from codistill.serve.app import create_app
from codistill.serve.messages import Picture, See
from codistill.serve.patience import patient_protocol, patient_socket
from codistill.serve.settings import ServeSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from codistill.perception.perception import Perception

WARM_ROUNDS = 2


def serve(perception: "Perception", settings: ServeSettings, *, warm: bool = False) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        perception: encoder and heads.
        settings: limits of the server.
        warm: process two samples with all heads before accepting connections.

    Raises:
        ConfigError: if the address cannot be bound.
    """
    perception.prepare()
    app = create_app(perception, settings)
    listener = listen(settings)
    if warm:
        warm_up(app)
    _announce(settings, listener.getsockname()[1])
    with listener:
        uvicorn.Server(uvicorn_config(app, settings)).run(sockets=[listener])


def uvicorn_config(app: "FastAPI", settings: ServeSettings) -> uvicorn.Config:
    """uvicorn's configuration for the application, with the limits of this server."""
    return uvicorn.Config(
        app,
        http=patient_protocol(settings),
        loop="asyncio",
        ws=patient_socket(settings),
        ws_max_size=settings.max_body,
        ws_per_message_deflate=False,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
        proxy_headers=False,
    )


def warm_up(app: "FastAPI") -> dict[str, float]:
    """Process a pair and a picture with all heads; returns the seconds by stage of the last one."""
    looker = app.state.looker
    seconds: dict[str, float] = {}
    for _ in range(WARM_ROUNDS):
        for entry in looker.samples.entries[:2]:  # a pair, and one picture
            pictures = tuple(Picture(name, sample=name) for name in entry.pictures)
            wish = See(0, pictures, tuple(looker.kinds), looker.settings.max_points, 1024)
            seconds = looker.look(wish, 0.0, None)[1].header["seconds"]
    return seconds


def listen(settings: ServeSettings) -> socket.socket:
    """Open a socket that listens at the address of the settings.

    Raises:
        ConfigError: if the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        of_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        advice = (
            "an address of this machine with --host"
            if of_host
            else "another port with --port (0: any free one)"
        )
        raise ConfigError(
            f"{settings.host}:{settings.port} cannot be listened on ({error.strerror or error}). Choose {advice}."
        ) from None
    return listener


def _announce(settings: ServeSettings, port: int) -> None:
    host = settings.host if settings.host not in ("0.0.0.0", "::", "127.0.0.1") else "localhost"
    host = f"[{host}]" if ":" in host else host
    token = f"?token={settings.token}" if settings.token else ""
    print(f"open http://{host}:{port}/{token}   (stop with Ctrl-C)", flush=True)
    if settings.is_local:
        return
    who = "who has the token" if settings.token else "who can reach this machine"
    print(
        f"warning: everyone {who} can use this server at {settings.host}:{port}, and nothing is encrypted. "
        + ("" if settings.token else "Add --token, and ")
        + "put a proxy with TLS in front (docs/live.md); browsers allow the webcam on https and localhost alone.",
        file=sys.stderr,
        flush=True,
    )
