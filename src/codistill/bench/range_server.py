"""A small threaded web server with range requests and an artificial latency, which serves a folder.

It replaces an object store in benchmarks and tests: HEAD and GET, `Range: bytes=A-B`, ETags, persistent connections.
"""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


class RangeServer:
    """Serves a folder at `url` while the context is open.

    Args:
        folder: the folder to serve.
        latency: seconds before each response.

    Attributes:
        requests: paths of all GET requests, in order.
    """

    def __init__(self, folder: Path, latency: float = 0.0) -> None:
        self.folder, self.latency = folder, latency
        self.requests: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"store": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "RangeServer":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status (0: success) and body of the response to a GET; tests override it to inject failures.

        If the body of a success is shorter than the given one, a truncated response is sent.
        """
        return 0, body


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: RangeServer

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(60)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""

    def do_HEAD(self) -> None:
        time.sleep(self.store.latency)
        found = self._file()
        if found is None:
            self._send(404, 0, "", None)
        else:
            self._send(200, found.stat().st_size, _tag(found), None)

    def do_GET(self) -> None:
        time.sleep(self.store.latency)
        found = self._file()
        self.store.requests.append(self.path)
        if found is None:
            self._send(404, 0, "", None)
            return
        size = found.stat().st_size
        start, stop = self._range(size)
        with found.open("rb") as file:
            file.seek(start)
            whole = file.read(stop - start)
        status, body = self.store.answer(unquote(self.path).lstrip("/"), whole)
        partly = f"bytes {start}-{stop - 1}/{size}" if "Range" in self.headers else None
        length = len(body) if status else len(whole)
        self._send(status or (206 if partly else 200), length, _tag(found), partly)
        self.wfile.write(body)
        if len(body) != length:
            self.close_connection = True

    def _file(self) -> Path | None:
        path = self.store.folder / unquote(self.path).lstrip("/")
        return path if path.is_file() else None

    def _range(self, size: int) -> tuple[int, int]:
        text = self.headers.get("Range", "")
        if not text.startswith("bytes="):
            return 0, size
        first, _, last = text.removeprefix("bytes=").partition("-")
        return int(first), min(size, int(last) + 1 if last else size)

    def _send(self, status: int, length: int, tag: str, content_range: str | None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if tag:
            self.send_header("ETag", tag)
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()


def _tag(path: Path) -> str:
    status = path.stat()
    return f'"{status.st_size}-{status.st_mtime_ns}"'
