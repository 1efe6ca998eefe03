"""Close connections that send or read nothing, after some seconds or when newer ones need their place.

uvicorn has a timeout between two requests of a connection, but none before the first request, and none for a client
that does not read. A client that sends half a header, or reads half a response, could keep its connections forever.
"""

import asyncio
import logging
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from codistill.serve.settings import ServeSettings

LOG = logging.getLogger("codistill.serve")


class _Unread:
    """Drops a connection whose client has not read what was sent for some seconds."""

    patience: float
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    unread: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()  # type: ignore[misc]
        self._forget()
        self.unread = self.loop.call_later(self.patience, self._drop)

    def resume_writing(self) -> None:
        super().resume_writing()  # type: ignore[misc]
        self._forget()

    def _forget(self) -> None:
        if self.unread is not None:
            self.unread.cancel()
            self.unread = None

    def _drop(self) -> None:
        LOG.warning("refused (unread): its answers were not taken for %g seconds", self.patience)
        self.transport.abort()


def patient_socket(settings: ServeSettings) -> type[WebSocketsSansIOProtocol]:
    """uvicorn's WebSocket protocol with a time limit for clients that do not read."""

    class PatientSocket(_Unread, WebSocketsSansIOProtocol):
        patience = settings.seconds

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            super().connection_lost(exc)

    return PatientSocket


def patient_protocol(settings: ServeSettings) -> type[H11Protocol]:
    """uvicorn's HTTP protocol with a limit of connections, and a time limit until a request's headers are complete."""

    class PatientProtocol(_Unread, H11Protocol):
        patience = settings.seconds
        deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            if len(self.connections) >= settings.max_connections and not self._make_room():
                LOG.warning("refused (connections): %d are open", len(self.connections))
                transport.abort()
                return
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            if self.transport is None:
                return
            super().data_received(data)
            if self.conn.their_state is h11.IDLE:
                self._wait()
            else:
                self._stop_waiting()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            self._forget()
            if self.transport is not None:
                super().connection_lost(exc)

        def handle_websocket_upgrade(self, event: h11.Request) -> None:
            self._stop_waiting()
            self._forget()
            super().handle_websocket_upgrade(event)

        def _wait(self) -> None:
            if self.deadline is None:
                self.deadline = self.loop.call_later(settings.first_seconds, self._give_up)

        def _stop_waiting(self) -> None:
            if self.deadline is not None:
                self.deadline.cancel()
                self.deadline = None

        def _give_up(self) -> None:
            LOG.warning("refused (silent): no request within %g seconds", settings.first_seconds)
            self.deadline = None
            self.transport.close()

        def _make_room(self) -> bool:
            """Close the connection that has been silent for longest; returns False if all are in use."""
            silent: list[Any] = [one for one in self.connections if getattr(one, "deadline", None)]
            if not silent:
                return False
            oldest = min(silent, key=lambda one: one.deadline.when())
            oldest._stop_waiting()
            self.connections.discard(oldest)
            oldest.transport.abort()
            LOG.warning("refused (silent): closed for a newer connection; all places were taken")
            return True

    return PatientProtocol
