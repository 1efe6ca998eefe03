"""ASGI middleware for access control: it checks the host name, the origin and the token before a request is read.

It encloses the whole application. Browsers let any page open WebSockets and post forms to any address. Requests with
the `Origin` of another site are therefore refused, and no CORS header is ever sent. The token is sent as
`Authorization: Bearer`, or once as `/?token=…`, which stores it in a cookie that scripts cannot read.
"""

import hmac
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codistill.serve.settings import ServeSettings

COOKIE = "codistill_token"
OPEN_PATHS = ("/healthz",)
"""Paths that need no token."""

_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """The middleware.

    Args:
        app: the application.
        settings: allowed host names and the token.
        refused: called with the reason of every refusal (`host`, `origin`, `token`).
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings, refused: Callable[[str, str], None]) -> None:
        self.app, self.settings, self.refused = app, settings, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        problem = self._problem(scope, headers)
        if problem is None and self.settings.token is not None and scope["path"] == "/":
            token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [None])[0]
            if token is not None:
                await self._welcome(scope)(scope, receive, send)
                return
        if problem is None:
            await self.app(scope, receive, _with_headers(send) if scope["type"] == "http" else send)
            return
        status, reason, text = problem
        self.refused(reason, text)
        if scope["type"] == "websocket":
            await _refuse_socket(receive, send)
        else:
            hint = {"www-authenticate": "Bearer"} if status == 401 else {}
            await JSONResponse({"detail": text}, status, headers=hint)(scope, receive, _with_headers(send))

    def _problem(self, scope: Scope, headers: Headers) -> tuple[int, str, str] | None:
        host = headers.get("host", "")
        names = self.settings.allowed_names
        if names is not None and _without_port(host) not in names:
            return 421, "host", f"this server does not answer to the name {host[:100]!r}; add it with --name"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "origin", f"requests of other sites are refused ({origin[:100]!r})"
        if self.settings.token is None or scope["path"] in OPEN_PATHS or self._knows_token(scope, headers):
            return None
        return (
            401,
            "token",
            "this server wants its token: open /?token=TOKEN once, or send it as a Bearer token",
        )

    def _knows_token(self, scope: Scope, headers: Headers) -> bool:
        shown = [headers.get("authorization", "").removeprefix("Bearer ")]
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        if cookie is not None:
            shown.append(cookie.value)
        if scope["type"] == "http" and scope["path"] == "/":
            shown += parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        wanted = (self.settings.token or "").encode()
        return any(hmac.compare_digest(one.encode(), wanted) for one in shown)

    def _welcome(self, scope: Scope) -> RedirectResponse:
        """Store the token in a cookie, and redirect to the address without it."""
        answer = RedirectResponse("/", 303)
        secure = scope.get("scheme") == "https"
        answer.set_cookie(COOKIE, self.settings.token or "", httponly=True, samesite="strict", secure=secure)
        return answer


def _without_port(host: str) -> str:
    name, _, port = host.lower().rpartition(":")
    return name if name and port.isdigit() else host.lower()


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            message["headers"] = [*message.get("headers", ()), *own]
        await send(message)

    return sending


async def _refuse_socket(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 1008})
