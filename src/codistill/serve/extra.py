"""The packages of the extra `serve`, checked before anything is loaded."""

import importlib.util

from codistill.errors import MissingExtraError

PACKAGES = ("fastapi", "uvicorn", "websockets", "python_multipart", "prometheus_client")


def check_extra() -> None:
    """Raise MissingExtraError where a package is missing that the server needs."""
    for name in PACKAGES:
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(name.replace("_", "-"), "serve", "codistill serve")
