"""Settings of a server: its address, access control, and the limits of everything that a client sends."""

import ipaddress
from dataclasses import dataclass

from codistill.errors import ConfigError, check_least

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]", "::1")
"""Names under which a browser on the same machine, or at the end of an SSH tunnel, reaches the server."""


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Settings of a server. What exceeds a limit is refused, not queued.

    Attributes:
        host, port: address to listen at. With any host but this machine's own, other machines can connect.
        names: host names of a proxy in front, besides the addresses that `host` stands for.
        token: token that a client must send; None: none is needed.
        max_body: largest number of bytes of one request or WebSocket message.
        max_pixels: largest rows * columns of one picture.
        max_edge: longer side, in pixels, to which the page's pictures are reduced before the encoder sees them.
        max_images: largest number of pictures of one request.
        max_fps: largest number of frames per second that are answered for one tab.
        max_clients: largest number of tabs at one time.
        max_waiting: largest number of REST requests that wait for their turn.
        max_connections: largest number of open connections of any kind.
        seconds: time limit of one request, including waiting.
        first_seconds: time within which a client must send its first data.
        idle_seconds: time for which a tab may be silent.
        max_mistakes: number of wrong messages after which a tab is disconnected.
        max_points: largest number of points of one cloud.
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
        """Host names that a request may have; None: any, if other machines are meant to connect.

        A page of another site can make its own name point to this machine (DNS rebinding). A server for this machine
        only therefore accepts only this machine's names.
        """
        if self.is_local or self.names:
            return (*LOCAL_HOSTS, self.host, *self.names)
        return None
