"""Load test of the live page's server, with tabs that send a frame when the last one is answered, as the page does.

In: the address of a server, frames, seconds. Out: frames per second, latencies, the share of a frame's time outside the
network, and the server's memory over time. The tabs are sockets of this process; the server is another process.
"""

import asyncio
import json
import re
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from codistill.serve.answers import TOGETHER
from codistill.serve.packets import PREFIX

Look = tuple[bytes, ...]
"""Encoded pictures of one frame: a single one, or several views of a place."""

POINTS, MAP_EDGE = 16_000, 256
"""Options that the page sends with the frames of a stream."""

OUTSIDE = ("wait", "decode", "pack")
"""Stages of a frame outside the network, i.e. neither resizing nor the encoder nor heads."""


@dataclass
class TabLog:
    """Measurements of one tab.

    Attributes:
        latencies: seconds from sending a frame to its answer.
        stages: seconds by stage, of each frame.
        replaced: number of frames that the server dropped for newer ones.
        sent_bytes, received_bytes: bytes of all frames.
    """

    latencies: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)
    replaced: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0


@dataclass(frozen=True)
class LoadResult:
    """Result of one load test.

    Attributes:
        want: answers that were asked for.
        frames_per_second: rate of all tabs together.
        median, worst: median and 99th percentile of the seconds from sending a frame to its answer.
        first_half, second_half: median latency in seconds of each half; a queue would make it grow.
        stages: the server's median seconds by stage.
        outside: share of the server's time per frame, without waiting, that is spent outside the network.
        megabytes: memory of the server at the start, the middle and the end.
        bytes_per_frame: bytes of an answer.
    """

    want: tuple[str, ...]
    tabs: int
    seconds: float
    frames: int
    frames_per_second: float
    median: float
    worst: float
    first_half: float
    second_half: float
    replaced: int
    stages: dict[str, float]
    outside: float
    megabytes: tuple[float, float, float]
    bytes_per_frame: int


def run_load(
    url: str, looks: Sequence[Look], want: Sequence[str], *, tabs: int, seconds: float, eager: int = 0
) -> LoadResult:
    """Run several tabs for some seconds.

    Args:
        url: http address of the server.
        looks: the pictures of the frames, which are sent in turn.
        want: names of the answers to ask for.
        tabs: number of simultaneous tabs.
        seconds: duration of the test.
        eager: number of tabs that send thirty frames per second without waiting for answers.
    """
    return asyncio.run(_load(url, looks, tuple(want), tabs, seconds, eager))


def server_answers(url: str, pictures: int = 1) -> tuple[str, ...]:
    """Names of all answers that a server gives for a frame of this number of pictures."""

    async def ask() -> tuple[str, ...]:
        async with _tab(url) as socket:
            heads = json.loads(await socket.recv())["perception"]["heads"]
        return tuple(head["name"] for head in heads if pictures > 1 or head["kind"] != TOGETHER)

    return asyncio.run(ask())


def _tab(url: str) -> connect:
    return connect(url.replace("http", "ws", 1).rstrip("/") + "/live", max_size=None, compression=None)


async def _load(
    url: str, looks: Sequence[Look], want: tuple[str, ...], tabs: int, seconds: float, eager: int
) -> LoadResult:
    logs = [TabLog() for _ in range(tabs)]
    until = time.perf_counter() + seconds
    began, memory = time.perf_counter(), [_megabytes(url)]
    work = [
        asyncio.create_task((_eager if number < eager else _patient)(url, looks, want, until, log))
        for number, log in enumerate(logs)
    ]
    await asyncio.sleep(seconds / 2)
    memory.append(await asyncio.to_thread(_megabytes, url))
    await asyncio.gather(*work)
    elapsed = time.perf_counter() - began
    memory.append(_megabytes(url))
    return _result(logs, want, elapsed, memory)


async def _patient(url: str, looks: Sequence[Look], want: tuple[str, ...], until: float, log: TabLog) -> None:
    """A tab that behaves as the page: it sends the next frame when the last one is answered."""
    async with _tab(url) as socket:
        await socket.recv()
        number = 0
        while time.perf_counter() < until:
            number += 1
            began = await _send(socket, number, looks[number % len(looks)], want, log)
            _note(await socket.recv(), {number: began}, log)


async def _eager(url: str, looks: Sequence[Look], want: tuple[str, ...], until: float, log: TabLog) -> None:
    """A tab that sends frames faster than they are answered; the server replaces older ones and queues none."""
    sent: dict[int, float] = {}
    async with _tab(url) as socket:
        await socket.recv()

        async def receive() -> None:
            async for data in socket:
                _note(data, sent, log)

        receiving = asyncio.create_task(receive())
        number = 0
        while time.perf_counter() < until:
            number += 1
            sent[number] = await _send(socket, number, looks[number % len(looks)], want, log)
            await asyncio.sleep(1 / 30)
        receiving.cancel()


async def _send(
    socket: ClientConnection, number: int, look: Look, want: tuple[str, ...], log: TabLog
) -> float:
    images = [{"bytes": len(picture)} for picture in look]
    header = {"type": "see", "id": number, "images": images, "want": want, "steady": True}
    text = json.dumps(header | {"points": POINTS, "map_edge": MAP_EDGE}).encode()
    began = time.perf_counter()
    await socket.send(b"".join((len(text).to_bytes(PREFIX, "little"), text, *look)))
    log.sent_bytes += sum(map(len, look))
    return began


def _note(data: str | bytes, sent: dict[int, float], log: TabLog) -> None:
    if isinstance(data, str):
        message = json.loads(data)
        if message["type"] != "replaced":
            raise RuntimeError(f"the server refused a frame: {message}")
        log.replaced += 1
        return
    header = json.loads(data[PREFIX : PREFIX + int.from_bytes(data[:PREFIX], "little")])
    log.latencies.append(time.perf_counter() - sent[header["id"]])
    log.stages.append(header["seconds"])
    log.received_bytes += len(data)


def _megabytes(url: str) -> float:
    with urllib.request.urlopen(f"{url.rstrip('/')}/metrics") as answer:
        found = re.search(r"^process_resident_memory_bytes (\S+)", answer.read().decode(), re.MULTILINE)
    return float(found[1]) / 1e6 if found else float("nan")


def _result(logs: list[TabLog], want: tuple[str, ...], elapsed: float, memory: list[float]) -> LoadResult:
    latencies = np.concatenate([log.latencies for log in logs])
    halves = [log.latencies[: len(log.latencies) // 2] for log in logs]
    rests = [log.latencies[len(log.latencies) // 2 :] for log in logs]
    stages = [one for log in logs for one in log.stages]
    medians = {name: float(np.median([one[name] for one in stages])) for name in stages[0]}
    working = sum(value for name, value in medians.items() if name != "wait")
    outside = sum(medians[name] for name in OUTSIDE if name != "wait") / working
    return LoadResult(
        want=want,
        tabs=len(logs),
        seconds=elapsed,
        frames=len(latencies),
        frames_per_second=len(latencies) / elapsed,
        median=float(np.median(latencies)),
        worst=float(np.quantile(latencies, 0.99)),
        first_half=float(np.median(np.concatenate(halves))),
        second_half=float(np.median(np.concatenate(rests))),
        replaced=sum(log.replaced for log in logs),
        stages=medians,
        outside=outside,
        megabytes=(memory[0], memory[1], memory[2]),
        bytes_per_frame=round(sum(log.received_bytes for log in logs) / max(1, len(latencies))),
    )
