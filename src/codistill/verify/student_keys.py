"""Checks of the keys of released students: listings of all names and shapes at full size.

In: `keys_dune_vitARCHPATCH_PIXELS.json`, names and shapes. Out: one result per listing.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from codistill.encoders.vit import ViTEncoder
from codistill.nn.vit import VIT_SIZES, vit_config
from codistill.student.projectors import ProjectorConfig
from codistill.student.student import Student
from codistill.types import TargetSpec, TokenKind
from codistill.verify.check import CheckResult, failed, judged

_LISTING = re.compile(r"keys_dune_vit([a-z]+)(\d+)_(\d+)\.json")


def listing_checks(path: Path) -> Iterator[CheckResult]:
    """Build a published student at full size on the meta device, and check names and shapes of all tensors."""
    listing: dict[str, list[int]] = json.loads(path.read_text())
    name = f"listing: {path.name}"
    match = _LISTING.fullmatch(path.name)
    if match is None or f"vit_{match[1]}" not in VIT_SIZES:
        known = ", ".join(size.removeprefix("vit_") for size in VIT_SIZES)
        yield failed(name, 0.0, f"not called keys_dune_vitARCHPATCH_PIXELS.json with one of: {known}")
        return
    size, patch, pixels = match[1], int(match[2]), int(match[3])
    wanted = {own_key(key): tuple(shape) for key, shape in listing.items()}
    registers = wanted.get("encoder.register_tokens", (1, 0, 0))[1]
    with torch.device("meta"):
        config = vit_config(f"vit_{size}", patch_size=patch, image_size=pixels, num_registers=registers)
        student = Student(ViTEncoder(config), _targets(wanted), ProjectorConfig())
    got = {key: tuple(tensor.shape) for key, tensor in student.state_dict().items()}
    wrong = sorted(k for k in got.keys() | wanted.keys() if got.get(k) != wanted.get(k))
    examples = ", ".join(f"{k}: {got.get(k)} instead of {wanted.get(k)}" for k in wrong[:3])
    yield judged(name, float(len(wrong)), 0.0, f"{len(wrong)} of {len(wanted)} differ: {examples}")


def own_key(key: str) -> str:
    """Translate a released student's key to codistill's: no prefixes, no chunk index, own name of statistics."""
    key = re.sub(r"^(module\.|_orig_mod\.)+", "", key)
    key = re.sub(r"^encoder\.blocks\.\d+\.(\d+)\.", r"encoder.blocks.\1.", key)
    return re.sub(r"^teacher_norms\.([^.]+)\.normalizers\.", r"target_statistics.\1.", key)


def _targets(shapes: dict[str, tuple[int, ...]]) -> tuple[TargetSpec, ...]:
    targets = []
    for key, shape in shapes.items():
        if match := re.fullmatch(r"projectors\.([^.]+)\.linear\.weight", key):
            kinds: tuple[TokenKind, ...] = tuple(
                kind for kind in ("cls", "patch") if f"target_statistics.{match[1]}.{kind}.mean" in shapes
            )
            targets.append(TargetSpec(name=match[1], dim=shape[0], kinds=kinds))
    return tuple(targets)
