"""What passes is waited out, what stays is an error that names the object; nothing secret is said."""

import logging
import time
from collections.abc import Callable

import pytest

from codistill.errors import StoreError
from codistill.files import listing
from codistill.files.remote import retrying
from codistill.files.remote.retrying import MissingObjectError, patiently

URL = "s3://bucket/shards/0.tar"


class WithStatusError(Exception):
    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status = status


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "_FIRST_PAUSE", 0.002)
    monkeypatch.setattr(retrying, "_reported", set())
    monkeypatch.setattr(listing, "_said", set())


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = [error] * times

    def call() -> str:
        if left:
            raise left.pop()
        return "content"

    return call


@pytest.mark.parametrize(
    "error", [OSError("broken"), WithStatusError(503), WithStatusError(429), TimeoutError(), EOFError()]
)
def test_passing_failures_are_tried_again_and_said_once(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "codistill"):
        assert patiently(failing(4, error), URL, 60) == "content"
    assert len(caplog.messages) == 1 and URL in caplog.messages[0]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PermissionError("Forbidden"), "refuses access"),
        (WithStatusError(403, "sig https://h/x?sig=hunter22"), "refuses access"),
        (
            type("NoCredentialsError", (Exception,), {})("Unable to locate credentials"),
            "no usable credentials",
        ),
        (WithStatusError(416), "cannot be used"),
    ],
)
def test_lasting_failures_end_at_once(error: Exception, text: str) -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise error

    with pytest.raises(StoreError, match=text) as raised:
        patiently(call, URL, 60)
    assert len(calls) == 1 and URL in str(raised.value) and "hunter22" not in str(raised.value)


@pytest.mark.parametrize("error", [FileNotFoundError("x"), WithStatusError(404)])
def test_missing_objects_are_named(error: Exception) -> None:
    with pytest.raises(MissingObjectError, match=r"s3://bucket/shards/0\.tar: no such object"):
        patiently(failing(1, error), URL, 60)


def test_patience_ends() -> None:
    begin = time.monotonic()
    with pytest.raises(
        StoreError, match=r"0\.tar: the store failed for 0\.3 s \(\d+ attempts; the last: broken\)"
    ):
        patiently(failing(10**6, OSError("broken")), URL, 0.3)
    assert time.monotonic() - begin < 3


def test_silence_is_said_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING, "codistill"),
        pytest.raises(StoreError, match="no answer within"),
    ):
        patiently(lambda: time.sleep(5), URL, 0.3)
    assert "has not answered" in caplog.messages[0]
