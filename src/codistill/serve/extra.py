"""Check that the packages of the extra `serve` are installed, before anything is loaded."""

import importlib.util

from codistill.errors import MissingExtraError

PACKAGES = ("fastapi", "uvicorn", "websockets", "python_multipart", "prometheus_client")


def check_extra() -> None:
    """Raise MissingExtraError if a package that the server needs is missing."""
    for name in PACKAGES:
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(name.replace("_", "-"), "serve", "codistill serve")
