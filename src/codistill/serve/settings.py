"""What a server allows: where it listens, who may come, and the limits of everything that a client sends."""

import ipaddress
from dataclasses import dataclass

from codistill.errors import ConfigError, check_least

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]", "::1")
"""Names under which a browser on the same machine, or at the end of an SSH tunnel, reaches the server."""


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Limits of a server; every one of them refuses, and none of them queues.

    Attributes:
        host, port: where to listen. Any host but this machine's own is reachable by others.
        names: host names of a proxy in front, besides the addresses that `host` stands for.
        token: what a client must show; None: nothing.
        max_body: bytes of one request or WebSocket message.
        max_pixels: rows * columns of one picture.
        max_edge: longer side, in pixels, to which the page's pictures are reduced before they are looked at.
        max_images: pictures of one request.
        max_fps: frames a second that one tab gets answered.
        max_clients: tabs at one time.
        max_waiting: REST requests that may wait for their turn.
        max_connections: open connections of any kind.
        seconds: of one request, waiting included.
        first_seconds: until a client must have said something.
        idle_seconds: for which a tab may be silent.
        max_mistakes: wrong messages of a tab before it is sent away.
        max_points: points of one cloud.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    names: tuple[str, ...] = ()
    token: str | None = None
    max_body: int = 16 << 20
    max_pixels: int = 24_000_000
    max_edge: int = 768
    max_images: int = 8
    max_fps: float = 30.0
    max_clients: int = 32
    max_waiting: int = 16
    max_connections: int = 128
    seconds: float = 30.0
    first_seconds: float = 20.0
    idle_seconds: float = 120.0
    max_mistakes: int = 20
    max_points: int = 120_000

    def __post_init__(self) -> None:
        check_least(
            self,
            "max_body",
            "max_pixels",
            "max_edge",
            "max_images",
            "max_clients",
            "max_waiting",
            "max_connections",
            "max_mistakes",
            "max_points",
        )
        for name in ("max_fps", "seconds", "first_seconds", "idle_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0; got {getattr(self, name)}")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port must be from 0 (any free one) to 65535; got {self.port}")
        if self.token is not None and len(self.token) < 8:
            raise ConfigError("a token has 8 characters or more: a shorter one is soon guessed")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def allowed_names(self) -> tuple[str, ...] | None:
        """Host names that a request may carry; None: any, where others are meant to connect.

        A page of another site can make its own name point to this machine (DNS rebinding): a server for this machine
        alone answers to this machine's names alone.
        """
        if self.is_local or self.names:
            return (*LOCAL_HOSTS, self.host, *self.names)
        return None
