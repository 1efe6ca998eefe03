"""Which numbers networks are computed in: bf16 where the device is made for it, fp32 where a result would suffer."""

from typing import Literal

import torch

from codistill.geometry.full_precision import full_precision as full_precision

Precision = Literal["auto", "fp32", "bf16"]


def autocast(device: torch.device | str, precision: Precision = "auto") -> torch.autocast:
    """bf16 where asked for, or on CUDA by itself; fp32 elsewhere. Losses and statistics stay fp32."""
    kind = torch.device(device).type
    return torch.autocast(
        kind, torch.bfloat16, enabled=precision == "bf16" or (precision == "auto" and kind == "cuda")
    )
