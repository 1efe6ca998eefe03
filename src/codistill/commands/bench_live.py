"""`codistill bench live --perception NAME|YAML`: load test of the live page's server, in a separate process."""

import argparse
import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from PIL import Image
from rich.console import Console
from rich.table import Table

from codistill.commands.bench_output import write_numbers
from codistill.commands.parsers.bench_live import parse
from codistill.errors import ConfigError
from codistill.files.processor import processor_name
from codistill.imaging import decode_rgb, resize_rgb
from codistill.serve.extra import check_extra

if TYPE_CHECKING:
    from codistill.bench.live import LoadResult

BOTH = ("segmentation", "depth")
EAGER = 2
"""Number of tabs, if there are several, that send without waiting for answers."""
STARTING = 60.0
"""Largest number of seconds from a server printing its address until it listens there."""


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    if arguments.tabs < 1 or not min(arguments.seconds, arguments.alone) > 0:
        raise ConfigError("--tabs must be 1 or more, --seconds and --alone above 0")
    check_extra()
    from codistill.bench.live import run_load, server_answers

    frames, pairs = small_looks(arguments.edge)
    loads: dict[str, "LoadResult"] = {}
    before = os.getloadavg()[0]
    with _server(arguments) as url:
        every = server_answers(url)
        wants = {"one tab, segmentation and depth": BOTH} if set(BOTH) <= set(every) else {}
        for name, want in (wants | {"one tab, every head": every}).items():
            loads[name] = run_load(url, frames, want, tabs=1, seconds=arguments.alone)
        of_pairs = server_answers(url, pictures=2)
        if of_pairs != every:
            loads["one tab, pairs, every head"] = run_load(
                url, pairs, of_pairs, tabs=1, seconds=arguments.alone
            )
        eager = min(EAGER, arguments.tabs - 1)
        loads[f"{arguments.tabs} tabs, every head"] = run_load(
            url, frames, every, tabs=arguments.tabs, seconds=arguments.seconds, eager=eager
        )
    machine = f"{len(os.sched_getaffinity(0))} processors of {processor_name()}"
    console = Console()
    console.print(
        f"{machine}; frames of {arguments.edge} pixels; load of others before: {before:.1f}", highlight=False
    )
    console.print(_table(loads))
    numbers = {"machine": machine, "load_before": before, "edge": arguments.edge}
    loaded = {name: asdict(result) for name, result in loads.items()}
    write_numbers(arguments.json, "live", {**numbers, "loads": loaded}, argv)
    return 0


def small_looks(edge: int) -> tuple[list[tuple[bytes, ...]], list[tuple[bytes, ...]]]:
    """The shipped samples at this size, as JPEGs: the first picture of each sample, and all pairs."""
    from codistill.serve.samples import Samples

    samples = Samples()
    looks = [
        tuple(_reduced(samples.data(name), edge) for name in entry.pictures) for entry in samples.entries
    ]
    return [look[:1] for look in looks], [look for look in looks if len(look) > 1]


def _reduced(data: bytes, edge: int) -> bytes:
    """Resize an encoded picture to a JPEG whose longer side is `edge`."""
    pixels = decode_rgb(data)
    factor = edge / max(pixels.shape[:2])
    size = (round(pixels.shape[0] * factor), round(pixels.shape[1] * factor))
    buffer = io.BytesIO()
    Image.fromarray(resize_rgb(pixels, size)).save(buffer, "JPEG", quality=86)
    return buffer.getvalue()


@contextmanager
def _server(arguments: argparse.Namespace) -> Iterator[str]:
    """Context with a server in a separate process; yields its address, and ends the process afterwards."""
    options = ["--port", "0", "--warm", "--device", arguments.device]
    options += ["--max-clients", str(arguments.tabs + 1), "--seconds", "120"]
    command = [sys.executable, "-m", "codistill", "serve", "--perception", arguments.perception, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            found = re.search(r"http://\S+:\d+/", line)
            if found:
                _wait_for(found[0], process)
                yield found[0]
                return
        raise ConfigError("the server did not start; what it printed above says why")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def _wait_for(url: str, process: subprocess.Popen[str]) -> None:
    """Wait until a server answers; it prints its address shortly before it listens there."""
    host, port = url.removeprefix("http://").rstrip("/").rsplit(":", 1)
    until = time.monotonic() + STARTING
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise ConfigError(f"the server said {url} and does not answer there; what it printed above may say why")


def _table(loads: "Mapping[str, LoadResult]") -> Table:
    table = Table("load", "frames/s", "median", "99 %", "outside", "memory (MB)", "replaced")
    for name, one in loads.items():
        table.add_row(
            name,
            f"{one.frames_per_second:.2f}",
            f"{1000 * one.median:.0f} ms",
            f"{1000 * one.worst:.0f} ms",
            f"{100 * one.outside:.1f} %",
            " → ".join(f"{value:.0f}" for value in one.megabytes),
            f"{one.replaced}",
        )
    return table
