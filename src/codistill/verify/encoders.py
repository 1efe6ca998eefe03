"""Numerical checks of teachers' encoders against recorded numbers: MASt3R's encoder, Multi-HMR's backbone.

In: files in the released layout, and the published code's outputs for them. Images are in each network's own
normalization. Out: one `CheckResult` per recorded array.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file

from codistill.encoders.load import vit_from_weights
from codistill.encoders.vit import ViTEncoder
from codistill.nn.rope import grid_positions
from codistill.verify.check import CheckResult, compare_tensors
from codistill.verify.suite import Part
from codistill.weights.layouts import read_encoder_weights

FORWARD_TOLERANCE = 5e-6


@torch.inference_mode()
def mast3r_checks(weights: Path, forward: Path) -> Iterator[CheckResult]:
    """Check normed tokens and patch positions of the first image of every recorded pair."""
    encoder = _encoder(weights)
    recorded = load_file(forward)
    for name in sorted(recorded):
        pair, _, what = name.partition("/")
        image = recorded.get(f"{pair}/image1")
        if image is None:
            continue
        if what == "encoder_tokens_image1":
            got = encoder.encode(image, norm=True).patches
            yield compare_tensors(f"MASt3R encoder: {name}", got, recorded[name], FORWARD_TOLERANCE)
        elif what == "positions_yx":
            got = grid_positions(*encoder.grid_of(image)).expand_as(recorded[name])
            yield compare_tensors(f"MASt3R encoder: {name}", got, recorded[name], 0.0)


@torch.inference_mode()
def multihmr_checks(weights: Path, forward: Path) -> Iterator[CheckResult]:
    """Check normed patch tokens of the backbone."""
    recorded = load_file(forward)
    dim = recorded["backbone_tokens"].shape[-1]
    # Recorded networks whose width is not a multiple of 64 have 32 channels per head; released ones have 64.
    encoder = _encoder(weights, None if dim % 64 == 0 else dim // 32)
    got = encoder.encode(recorded["image"], norm=True).patches
    yield compare_tensors(
        "Multi-HMR backbone: backbone_tokens", got, recorded["backbone_tokens"], FORWARD_TOLERANCE
    )


def _encoder(path: Path, num_heads: int | None = None) -> ViTEncoder:
    return vit_from_weights(read_encoder_weights(path, num_heads=num_heads))


PARTS = (
    Part(
        "MASt3R encoder",
        ("mast3r_nano_released_layout.pth", "mast3r_nano_forward.safetensors"),
        mast3r_checks,
    ),
    Part(
        "Multi-HMR backbone",
        ("multihmr_nano_released_layout.pt", "multihmr_nano_forward.safetensors"),
        multihmr_checks,
    ),
)
