"""Whether bf16 is faster than fp32 on this CPU: measured once, logged, and cached for this kind of processor."""

import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from codistill.errors import WriteError
from codistill.files.hashes import text_sha256
from codistill.files.places import cache_folder
from codistill.files.processor import processor_name
from codistill.files.writing import make_directory, write_atomic
from codistill.nn.blocks import Block
from codistill.nn.frozen import FrozenBlock
from codistill.nn.frozen_linear import onednn_computes_in

LOGGER = logging.getLogger("codistill")
_ROUNDS = 7
_WORTH = 1.15
"""Minimal speed-up for which bf16 is chosen: measurements have errors, and bf16 must never be the slower choice."""
_MEASURED: dict[str, bool] = {}


def bf16_is_faster() -> bool:
    """Whether a frozen block is faster in bf16 than in fp32 on this CPU, from a cached or a new measurement."""
    if not onednn_computes_in(torch.bfloat16):
        return False
    name = f"{processor_name()}, PyTorch {torch.__version__}, {torch.get_num_threads()} thread(s)"
    if name not in _MEASURED:
        path = cache_folder() / "precision" / f"{text_sha256(name)[:16]}.json"
        known = _read(path, name)
        _MEASURED[name] = _measure(path, name) if known is None else known
    return _MEASURED[name]


def _read(path: Path, name: str) -> bool | None:
    """The cached result for a processor; None if there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return float(found["fp32"]) > _WORTH * float(found["bf16"]) if found["processor"] == name else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _measure(path: Path, name: str) -> bool:
    """Measure, log and cache the result. Processes that measure at the same time all use what the first one cached."""
    seconds = measured_block()
    faster = seconds["fp32"] > _WORTH * seconds["bf16"]
    with suppress(WriteError, OSError):  # if the cache cannot be written, the next process measures again
        make_directory(path.parent)
        if (kept := _read(path, name)) is not None:
            return kept
        write_atomic(path, json.dumps({"processor": name, **seconds}, indent=1) + "\n")
    LOGGER.warning(
        "bf16 where it is faster means %s on this CPU (%s): a block of a ViT-S took %.1f ms in fp32, %.1f ms in bf16; "
        "kept in %s",
        "bf16" if faster else "fp32",
        name,
        1e3 * seconds["fp32"],
        1e3 * seconds["bf16"],
        path,
    )
    return faster


@torch.no_grad()
def measured_block() -> dict[str, float]:
    """Seconds of a frozen ViT-S block on an image of 224 pixels, by precision: the shortest of several rounds."""
    block = Block(384, 6, 1536)
    calls: dict[str, Callable[[], object]] = {}
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        frozen, x = FrozenBlock(block, dtype), torch.ones(1, 257, 384, dtype=dtype)
        calls[precision] = lambda frozen=frozen, x=x: frozen(x)
    best = dict.fromkeys(calls, float("inf"))
    for turn in range(_ROUNDS + 1):
        for precision, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:  # the first round also packs the weights
                best[precision] = min(best[precision], time.perf_counter() - start)
    return best
