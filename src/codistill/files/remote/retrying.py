"""Retry a call to a store while the store fails temporarily or does not answer; lasting failures are errors at once.

Missing objects (404) and refused requests (401, 403, other 4xx, no credentials) are errors at once, because waiting
does not help. Everything else (5xx, 429, broken connections, cut bodies, silence) is tried again after growing,
jittered pauses, for as long as the caller's patience. The first failure of a store is logged, once per process.
"""

import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from codistill.errors import CodistillError, StoreError
from codistill.files.listing import say
from codistill.files.urls import without_secrets

Result = TypeVar("Result")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0
LONGEST_ATTEMPT = 60.0
_NOT_PASSING = (ImportError, TypeError, AttributeError, NotImplementedError, ValueError)
_PASSING_STATUS = (408, 425, 429)
_JITTER = random.Random()  # a generator of its own: the global one belongs to the caller
_ADVICE = "Check the credentials in the environment, and what they may do."


class MissingObjectError(StoreError):
    """There is no such object."""


class CutBodyError(OSError):
    """An answer with fewer bytes, or other bytes, than expected."""


def patiently(
    call: Callable[[], Result], url: str, patience: float, longest: float = LONGEST_ATTEMPT
) -> Result:
    """Return the result of a call, which is retried for `patience` seconds while it fails temporarily.

    Args:
        call: reads or writes `url`; must be harmless if repeated, even while an earlier call is still running.
        url: of the object, for messages.
        patience: seconds.
        longest: seconds after which a call counts as failed, or a tenth of `patience` if that is more.

    Raises:
        MissingObjectError: if the object is missing.
        StoreError: if the store refuses it, or fails for longer than `patience`; names the object.
    """
    begin = time.monotonic()
    for attempt in itertools.count():
        left = patience - (time.monotonic() - begin)
        try:
            return _within(call, url, min(left, max(longest, patience / 10)), patience)
        except Exception as raised:
            error = _reason(raised, url)
            failure = _lasting(error, url)
            if failure is not None:
                raise failure from None
            reason = _text(error)
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt) * _JITTER.uniform(0.5, 1.0)
        if time.monotonic() - begin + pause >= patience:
            raise StoreError(
                f"{url}: the store failed for {patience:g} s ({attempt + 1} attempts; the last: {reason}). What is "
                "saved stays; the same command again resumes."
            )
        _report(url, f"fails ({reason})", patience)
        time.sleep(pause)
    raise AssertionError("unreachable")


def _within(call: Callable[[], Result], url: str, seconds: float, patience: float) -> Result:
    """Return the call's result, or raise TimeoutError if it takes longer; it then keeps running in its own thread."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="codistill-store")
    thread.start()
    soon = seconds / 6
    thread.join(soon)
    if thread.is_alive():
        _report(url, f"has not answered for {soon:.1f} s", patience)
        thread.join(seconds - soon)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {seconds:.1f} s")
    return results[0]


def _report(url: str, what: str, patience: float) -> None:
    """Log the first failure of each kind of a store."""
    scheme, _, rest = url.partition("://")
    store = f"{scheme}://{rest.partition('/')[0]}"
    kind = what.partition(" (")[0].partition(" for ")[0]
    if (store, kind) not in _reported:
        _reported.add((store, kind))
        say(f"{store}: {what}, first at {url}; waiting, for at most {patience:g} s an object")


_reported: set[tuple[str, str]] = set()


def _reason(error: Exception, url: str) -> Exception:
    """The error itself; for web servers what it stands for: fsspec calls every failure to get a state "not found"."""
    cause = error.__cause__
    unclear = isinstance(error, FileNotFoundError) and url.startswith(("http://", "https://"))
    return cause if unclear and isinstance(cause, Exception) else error


def _lasting(error: Exception, url: str) -> CodistillError | None:
    """The error to raise if another attempt would not help; None if it may help."""
    if isinstance(error, CodistillError):
        return error
    status = _status(error)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return MissingObjectError(
            f"{url}: no such object. It was moved or removed; put it back, or change the source."
        )
    if isinstance(error, PermissionError) or status in (401, 403):
        return StoreError(f"{url}: the store refuses access ({_text(error)}). {_ADVICE}")
    if "Credentials" in type(error).__name__:
        return StoreError(f"{url}: no usable credentials ({_text(error)}). {_ADVICE}")
    if isinstance(error, _NOT_PASSING) or (
        status is not None and 400 <= status < 500 and status not in _PASSING_STATUS
    ):
        return StoreError(f"{url}: cannot be used ({_text(error)})")
    return None


def _status(error: Exception) -> int | None:
    """The HTTP status of an error of aiohttp, requests, httpx, botocore or gcsfs."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):
        answer = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    for found in (getattr(error, "status", None), getattr(error, "code", None), answer):
        found = getattr(found, "status_code", found)
        if isinstance(found, int) or (isinstance(found, str) and found.isdigit()):
            return int(found)
    return None


def _text(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return without_secrets(lines[0][:300] if lines else type(error).__name__)
