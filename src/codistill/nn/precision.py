"""Precision in which networks are computed: bf16 or fp32, depending on the device.

auto  bf16 on CUDA, fp32 on a CPU
fast  bf16 on CUDA, and on a CPU where it was measured to be faster (`bf16_speed.py`); otherwise fp32
fp32, bf16
"""

import logging
from functools import cache
from typing import Literal

import torch

from codistill.geometry.full_precision import full_precision as full_precision
from codistill.nn.bf16_speed import bf16_is_faster
from codistill.nn.frozen_linear import onednn_computes_in

LOGGER = logging.getLogger("codistill")
Precision = Literal["auto", "fast", "fp32", "bf16"]


def in_bf16(device: torch.device | str, precision: Precision = "auto") -> bool:
    """Whether a precision is bf16 on a device."""
    kind = torch.device(device).type
    if precision == "bf16" and kind == "cpu":
        warn_of_slow_bf16()
    if precision == "fast" and kind == "cpu":
        return bf16_is_faster()
    return precision == "bf16" or (precision in ("auto", "fast") and kind == "cuda")


def autocast(device: torch.device | str, precision: Precision = "auto") -> torch.autocast:
    """Autocast context to bf16 if the precision means bf16 on this device, else disabled; losses stay in fp32."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=in_bf16(device, precision))


@cache
def warn_of_slow_bf16() -> None:
    """Warn once if this CPU computes bf16 in software."""
    if not onednn_computes_in(torch.bfloat16):
        LOGGER.warning(
            "this CPU has no instructions for bf16 (AMX, AVX-512 BF16) and computes it in software, many times slower "
            "than fp32: take the precision fast, which is bf16 only where that is faster"
        )
