"""A server in a thread, with a perception of formulas, for tests that speak to it over real sockets."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

for _package in ("fastapi", "uvicorn", "websockets", "python_multipart", "prometheus_client"):
    pytest.importorskip(_package, reason="needs the extra `serve`")
sys.path.insert(0, str(Path(__file__).parent))  # live_server, toy_perception

from live_server import LiveServer  # noqa: E402
from toy_perception import ToyPerception  # noqa: E402

from codistill.serve.settings import ServeSettings  # noqa: E402


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    """A server with short patience, for many tests."""
    settings = ServeSettings(
        port=0, first_seconds=1.0, idle_seconds=2.0, seconds=4.0, max_body=2_000_000, max_pixels=4_000_000
    )
    with LiveServer(ToyPerception(), settings) as one:
        yield one


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A JPEG of 112x84 pixels with some content."""
    rows, columns = np.mgrid[:84, :112]
    pixels = np.stack([rows * 2, columns * 2, 255 - rows - columns], axis=-1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
