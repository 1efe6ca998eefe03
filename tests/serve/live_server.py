"""A server in a thread on a free port, and a client of its WebSocket."""

import json
import threading
import time
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from codistill.serve.app import create_app
from codistill.serve.packets import PREFIX, decode_packet
from codistill.serve.run import listen, uvicorn_config
from codistill.serve.settings import ServeSettings


class LiveServer:
    """Runs while the `with` block lasts."""

    def __init__(self, perception: Any, settings: ServeSettings) -> None:
        self.perception, self.settings = perception, settings
        self.app = create_app(perception, settings)
        self.looker = self.app.state.looker

    def __enter__(self) -> Self:
        self._listener = listen(self.settings)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = uvicorn.Server(uvicorn_config(self.app, self.settings))
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True
        )
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._listener.close()

    def tab(self, **options: Any) -> "TabClient":
        """A new tab, whose server has said hello."""
        return TabClient(connect(f"ws://127.0.0.1:{self.port}/live", max_size=None, **options))

    def wait_for_tabs(self, count: int) -> None:
        """Wait until so many tabs are open; they close a moment after their connection."""
        until = time.monotonic() + 5
        while self.count("tabs") != count:
            assert time.monotonic() < until, self.count("tabs")
            time.sleep(0.02)

    def tab_refused(self) -> tuple[int, str]:
        """Code and reason of a new tab's close before any hello."""
        with connect(f"ws://127.0.0.1:{self.port}/live") as socket:
            return _end_of(socket)

    def end_of(self, tab: "TabClient") -> tuple[int, str]:
        """Code and reason with which the server closes a tab."""
        return _end_of(tab.socket)

    def count(self, name: str, **labels: str) -> float:
        """A counter's value."""
        return self.looker.meters.registry.get_sample_value(f"codistill_{name}", labels) or 0.0


def _end_of(socket: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=10)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


class TabClient:
    """What the page's script does, in Python."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.hello = json.loads(socket.recv(timeout=10))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def see(self, identity: int, pictures: list[bytes], **more: Any) -> None:
        """Send pictures."""
        images = [{"bytes": len(data), "name": f"{i}.jpg"} for i, data in enumerate(pictures)]
        self.send({"type": "see", "id": identity, "images": images} | more, b"".join(pictures))

    def send(self, header: dict[str, Any], rest: bytes = b"") -> None:
        """Send a message; with a rest in binary."""
        text = json.dumps(header)
        if not rest:
            self.socket.send(text)
            return
        data = text.encode()
        self.socket.send(len(data).to_bytes(PREFIX, "little") + data + rest)

    def receive(self, seconds: float = 10) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The next message: its header, and its arrays."""
        data = self.socket.recv(timeout=seconds)
        return (json.loads(data), {}) if isinstance(data, str) else decode_packet(data)
