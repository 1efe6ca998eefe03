"""A browser tab: one WebSocket, its newest request of every kind, and its last scene.

There are two tasks per tab. One receives: a new request replaces a waiting one of the same kind (the newest frame wins,
and nothing is queued). The other waits for its turn with the worker, and only then takes the newest request.
"""

import asyncio
import json
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from codistill.errors import CodistillError, DataError
from codistill.serve.look import Looker, Seen
from codistill.serve.messages import Describe, Message, MessageError, Ping, See, Similar, parse_message

if TYPE_CHECKING:
    from collections.abc import Callable

LOG = logging.getLogger("codistill.serve")
Wish = See | Similar | Describe

POLICY, TOO_BIG, TRY_LATER = 1008, 1009, 1013
"""Codes with which a WebSocket is closed (RFC 6455)."""


class Tab:
    """One tab, from its first message to its last.

    Args:
        socket: the WebSocket, not yet accepted.
        looker: runs the perception.
        number: number of this tab, for the log.
    """

    def __init__(self, socket: WebSocket, looker: Looker, number: int) -> None:
        self.socket, self.looker, self.number = socket, looker, number
        self.settings, self.meters = looker.settings, looker.meters
        self.seen: Seen | None = None
        self._wishes: dict[str, Wish] = {}
        self._awake = asyncio.Event()
        self._sending = asyncio.Lock()
        self._last_look = 0.0
        self._mistakes = 0

    async def run(self) -> None:
        """Serve the tab until it leaves, is silent for too long, or makes too many mistakes."""
        await self.socket.accept()
        await self._say(self.looker.hello())
        working = asyncio.create_task(self._work())
        receiving = asyncio.create_task(self._receive())
        done, rest = await asyncio.wait({working, receiving}, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        for task in done:
            error = task.exception()
            if error is not None and not isinstance(error, (WebSocketDisconnect, TimeoutError)):
                LOG.error("tab %d: ended by an error", self.number, exc_info=error)

    async def _receive(self) -> None:
        patience = self.settings.first_seconds
        while True:
            try:
                async with asyncio.timeout(patience):
                    event = await self.socket.receive()
            except TimeoutError:
                await self.leave(POLICY, "silent", f"nothing was said for {patience:g} seconds")
                return
            if event["type"] == "websocket.disconnect":
                return
            patience = self.settings.idle_seconds
            data = event.get("bytes") if event.get("bytes") is not None else event.get("text")
            try:
                await self._take(parse_message(data or "", self.settings.max_images), len(data or ""))
            except MessageError as error:
                self._mistakes += 1
                self.looker.refused("message", f"tab {self.number}: {error}")
                await self._say({"type": "error", "code": "message", "text": str(error)})
                if self._mistakes >= self.settings.max_mistakes:
                    await self.leave(POLICY, "mistakes", f"{self._mistakes} wrong messages")
                    return

    async def _take(self, message: Message, size: int) -> None:
        if isinstance(message, Ping):
            await self._say({"type": "pong"})
            return
        kind = type(message).__name__
        older = self._wishes.get(kind)
        self._wishes[kind] = message
        self._awake.set()
        self.meters.received.inc(size)
        if older is not None:
            self.meters.replaced.inc()
            await self._say({"type": "replaced", "id": older.id})

    async def _work(self) -> None:
        while True:
            await self._awake.wait()
            if "See" in self._wishes:
                pause = self._last_look + 1.0 / self.settings.max_fps - time.monotonic()
                await asyncio.sleep(max(0.0, pause))
            wish: Wish | None = None
            began = time.perf_counter()

            def prepare(began: float = began) -> "Callable[[], bytes]":
                nonlocal wish
                wish = self._newest()
                return partial(self._compute, wish, time.perf_counter() - began)

            try:
                answer = await self.looker.worker.compute(prepare)
            except Exception as error:
                wish = self._newest() if wish is None else wish
                await self._say(self._failure(error, wish))
                continue
            self.meters.sent.inc(len(answer))
            await self._send(answer)

    def _newest(self) -> Wish:
        """The next request to compute; new pictures come last, so that a click is answered between two frames."""
        kind = min(self._wishes, key=("Describe", "Similar", "See").index)
        wish = self._wishes.pop(kind)
        if not self._wishes:
            self._awake.clear()
        if isinstance(wish, See):
            self._last_look = time.monotonic()
        return wish

    def _compute(self, wish: Wish, waited: float) -> bytes:
        """Compute the bytes of a request's answer; runs in the worker's thread."""
        if isinstance(wish, See):
            self.seen, packet = self.looker.look(wish, waited, self.seen)
            return packet.encode()
        if self.seen is None:
            raise MessageError("look at a picture first: this connection has seen none")
        if isinstance(wish, Similar):
            return self.looker.similar(wish, self.seen).encode()
        return self.looker.describe(wish, self.seen).encode()

    def _failure(self, error: Exception, wish: Wish) -> dict[str, Any]:
        about = {"type": "error", "id": wish.id}
        if isinstance(error, CodistillError):
            code = "picture" if isinstance(error, DataError) else type(error).__name__
            self.looker.refused(code, f"tab {self.number}: {error}")
            return about | {"code": code, "text": str(error)}
        self.meters.failed.inc()
        LOG.error("tab %d: a scene failed", self.number, exc_info=error)
        return about | {"code": "failed", "text": "this failed on the server; its log says why"}

    async def _say(self, message: dict[str, Any]) -> None:
        await self._send(json.dumps(message))

    async def _send(self, data: str | bytes) -> None:
        """Send a message when earlier ones are sent; a tab that does not read in time is disconnected."""
        async with self._sending:
            if self.socket.application_state is not WebSocketState.CONNECTED:
                raise WebSocketDisconnect(1006)
            try:
                async with asyncio.timeout(self.settings.seconds):
                    await (
                        self.socket.send_text(data) if isinstance(data, str) else self.socket.send_bytes(data)
                    )
            except TimeoutError:
                self.looker.refused("unread", f"tab {self.number}: does not read its answers")
                raise

    async def leave(self, code: int, reason: str, text: str) -> None:
        """Close the connection from the server's side, and tell the client why."""
        self.looker.refused(reason, f"tab {self.number}: {text}")
        await self.socket.close(code, text[:100])
