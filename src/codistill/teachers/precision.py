"""Precision in which a teacher computes: its encoder, a device and the step's precision in, a prepared network out.

same      like the step: fp32 in an fp32 step, `bf16` in a bf16 step
auto      `bf16` on CUDA, and on a CPU where it is measured to be faster; otherwise fp32
fp32      products in fp32, whatever the step's precision
bf16      weights folded and rounded once (`nn/frozen.py`); networks of other libraries run under autocast
autocast  the network unchanged, under autocast
int8      products in 8-bit integers. On a CPU that multiplies these fast: codistill's encoders are folded, and
          everything else is in bf16 (`nn/int8_linear.py`). Otherwise, and for networks of other libraries: the
          network is quantized unfolded and compiled, and everything else is in fp32 (`quantize.py`)
"""

from typing import Literal, TypeGuard, get_args

import torch

from codistill.encoders.base import Encoder
from codistill.encoders.frozen import FrozenViTEncoder
from codistill.encoders.precision import chosen, in_precision
from codistill.encoders.vit import ViTEncoder
from codistill.nn.frozen_linear import onednn_computes_in
from codistill.nn.int8_linear import int8_is_fast
from codistill.nn.precision import Precision, in_bf16
from codistill.teachers.quantize import quantize_linears

TeacherPrecision = Literal["same", "auto", "fp32", "bf16", "autocast", "int8"]
PRECISIONS: tuple[str, ...] = get_args(TeacherPrecision)


def folds_int8(encoder: Encoder, device: torch.device | str) -> TypeGuard[ViTEncoder]:
    """Whether an int8 teacher is folded, so that it needs neither torchao nor compilation."""
    ours = isinstance(encoder, ViTEncoder) and not isinstance(encoder, FrozenViTEncoder)
    return (
        ours and torch.device(device).type == "cpu" and int8_is_fast() and onednn_computes_in(torch.bfloat16)
    )


def prepared(
    encoder: Encoder, precision: TeacherPrecision, device: torch.device | str, step: Precision | None
) -> tuple[Encoder, torch.dtype | None]:
    """Return the encoder to run, and the dtype for autocast: fp32 for no autocast, None to leave that to the caller.

    Args:
        encoder: as loaded; its layers may be changed in place.
        precision: of the teacher.
        device: device on which it will run.
        step: precision of the step; None: `same` follows the autocast around each call.

    Raises:
        MissingExtraError: for int8 without torchao.
    """
    if precision == "same":
        if step is None:
            return encoder, None
        precision = "bf16" if in_bf16(device, step) else "fp32"
    if precision == "autocast":
        return encoder, torch.bfloat16
    if precision == "int8":
        if folds_int8(encoder, device):
            return FrozenViTEncoder(encoder, "int8"), torch.float32
        quantize_linears(encoder)
        return encoder, torch.float32
    wanted = chosen("auto", device) if precision == "auto" else precision
    if wanted == "fp32" or isinstance(encoder, FrozenViTEncoder):
        return encoder, torch.float32
    if isinstance(encoder, ViTEncoder):
        return in_precision(encoder, "bf16", device), torch.float32
    return encoder, torch.bfloat16
