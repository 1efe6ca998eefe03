"""Which numbers an encoder computes in: a name in, the encoder in that precision out.

    exact  the network as it was trained: fp32, with gradients, nothing folded
    fp32   folded (`nn/frozen.py`): the same tokens but for rounding, somewhat faster
    bf16   folded and rounded to bf16: about 1 % of relative error in DINOv2's tokens, twice as fast and more
    auto   bf16 on CUDA, and on a CPU where that was measured to be faster; else fp32

On a CPU the two are measured once, on a block of a ViT-S; the result is said, and kept for this kind of processor.
"""

import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

import torch

from codistill.encoders.base import Encoder
from codistill.encoders.frozen import FrozenViTEncoder
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError, WriteError, unknown_name
from codistill.files.hashes import text_sha256
from codistill.files.places import cache_folder
from codistill.files.processor import processor_name
from codistill.files.writing import make_directory, write_atomic
from codistill.nn.blocks import Block
from codistill.nn.frozen import FrozenBlock
from codistill.nn.frozen_linear import onednn_computes_in

LOGGER = logging.getLogger("codistill")
EncoderPrecision = Literal["exact", "auto", "fp32", "bf16"]
_ROUNDS = 7
_WORTH = 1.15
"""How many times faster bf16 must be, at least: a measurement errs, and bf16 must never be the slower one."""
_MEASURED: dict[str, bool] = {}


def check_precision(precision: str) -> EncoderPrecision:
    """The name, if it is one.

    Raises:
        ConfigError: with the known ones.
    """
    if precision not in get_args(EncoderPrecision):
        raise ConfigError(unknown_name("precision of an encoder", precision, get_args(EncoderPrecision)))
    return precision  # type: ignore[return-value]


def chosen(precision: EncoderPrecision, device: torch.device | str) -> Literal["exact", "fp32", "bf16"]:
    """The precision behind `auto` on a device; any other is itself."""
    if precision != "auto":
        return precision
    kind = torch.device(device).type
    return "bf16" if kind == "cuda" or (kind == "cpu" and bf16_is_faster()) else "fp32"


def in_precision(
    encoder: Encoder, precision: EncoderPrecision, device: torch.device | str = "cpu"
) -> Encoder:
    """An encoder in a precision, for a device; itself where that is what it is.

    Raises:
        ConfigError: for fp32 or bf16 if it is no vision transformer of ours: no other can be folded.
    """
    if isinstance(encoder, FrozenViTEncoder):
        if precision in ("exact", "auto") or chosen(precision, device) == encoder.precision:
            return encoder
        raise ConfigError(
            f"{encoder.spec.name} is in {encoder.precision} already; load it with precision={precision}"
        )
    if precision == "exact" or (precision == "auto" and not isinstance(encoder, ViTEncoder)):
        return encoder
    if not isinstance(encoder, ViTEncoder):
        raise ConfigError(
            f"{encoder.spec.name} cannot be loaded with precision={precision}: a {type(encoder).__name__} is not one "
            "of codistill's own vision transformers, which alone can be folded. Leave the precision out, and compute "
            "under torch.autocast."
        )
    return FrozenViTEncoder(encoder, chosen(precision, device))


def bf16_is_faster() -> bool:
    """Whether a frozen block is faster in bf16 than in fp32 on this CPU, from an earlier measurement or a new one."""
    if not onednn_computes_in(torch.bfloat16):
        return False
    name = f"{processor_name()}, PyTorch {torch.__version__}, {torch.get_num_threads()} thread(s)"
    if name not in _MEASURED:
        path = cache_folder() / "precision" / f"{text_sha256(name)[:16]}.json"
        known = _read(path, name)
        _MEASURED[name] = _measure(path, name) if known is None else known
    return _MEASURED[name]


def _read(path: Path, name: str) -> bool | None:
    """What was measured for a processor; None if nothing readable was."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return float(found["fp32"]) > _WORTH * float(found["bf16"]) if found["processor"] == name else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _measure(path: Path, name: str) -> bool:
    """Measure, say and keep the result. Several processes may do so at once: each writes a whole file."""
    seconds = measured_block()
    faster = seconds["fp32"] > _WORTH * seconds["bf16"]
    LOGGER.warning(
        "precision=auto takes %s on this CPU (%s): a block of a ViT-S took %.1f ms in fp32, %.1f ms in bf16; "
        "kept in %s",
        "bf16" if faster else "fp32",
        name,
        1e3 * seconds["fp32"],
        1e3 * seconds["bf16"],
        path,
    )
    with suppress(WriteError, OSError):  # without a cache it is measured again
        make_directory(path.parent)
        write_atomic(path, json.dumps({"processor": name, **seconds}, indent=1) + "\n")
    return faster


@torch.no_grad()
def measured_block() -> dict[str, float]:
    """Seconds of a frozen ViT-S block on an image of 224 pixels, by precision: the shortest of several turns."""
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
            if turn:  # the first one lays out the weights
                best[precision] = min(best[precision], time.perf_counter() - start)
    return best
