"""Addresses of objects in stores (`s3://BUCKET/KEY`, `https://…`): recognize and join them, and remove secrets.

Addresses are written into configs, logs and errors. An address with credentials (`user:password@`, a signed query) is
therefore refused; credentials come from the environment. In error texts of other libraries, both are removed before the
texts are shown.
"""

import os
import posixpath
import re
from urllib.parse import quote

from codistill.errors import ConfigError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_COLLAPSED = re.compile(r"(?:s3|gs|gcs|https?|hf|memory):/[^/]")
_USER = re.compile(r"(?<=://)[^/\s@]*@")
_QUERY = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]*://|/)[^\s?'\"]*)\?[^\s'\")>]+")
_SECRET_NAMES = ("SECRET", "TOKEN", "PASSWORD", "CREDENTIAL", "_KEY")


def is_url(text: str) -> bool:
    """Whether a text is an address in a store. Paths and `file://` addresses are not."""
    return bool(_URL.match(text)) and not text.startswith("file://")


def check_url(text: str, what: str) -> None:
    """Refuse an address with credentials, or one that lost a slash because it was treated as a path. Paths are
    accepted.

    Args:
        text: an address or a path.
        what: its name in the error, e.g. `source 'photos'`.

    Raises:
        ConfigError: its text does not contain the secret.
    """
    if _COLLAPSED.match(text):
        raise ConfigError(f"{what}: {text!r} lost a slash: write {text.replace(':/', '://', 1)!r}")
    if not is_url(text):
        return
    if without_secrets(text) != text:
        raise ConfigError(
            f"{what}: {without_secrets(text)!r} carries credentials or a query, which would be saved in configs and "
            "logs. Give the plain address, and credentials by the environment (AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN)."
        )


def without_secrets(text: str) -> str:
    """Remove user names and queries from addresses in a text, and the values of secret environment variables."""
    text = _QUERY.sub(r"\1?…", _USER.sub("…@", text))
    for name, value in os.environ.items():
        if len(value) >= 8 and any(part in name.upper() for part in _SECRET_NAMES):
            text = text.replace(value, "…")
    return text


def object_url(root: str, name: str) -> str:
    """The address of an object by its relative name. For web servers, special characters are quoted."""
    return join_url(root, quote(name) if root.startswith(("http://", "https://")) else name)


def join_url(url: str, name: str) -> str:
    """The address of a name below another address. `..` in the name is resolved, but not above the host or bucket."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    path = posixpath.normpath(f"/{path}/{name}").lstrip("/")
    return f"{scheme}://{host}/{path}" if path else f"{scheme}://{host}"


def parent_of(place: str) -> str:
    """The folder of a file, given as a path or an address."""
    return parent_url(place) if is_url(place) else os.path.dirname(place) or "."  # noqa: PTH120


def parent_url(url: str) -> str:
    """The address of the folder of an object."""
    return join_url(url, "..")
