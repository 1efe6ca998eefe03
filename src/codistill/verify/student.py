"""Numerical checks of the student against recorded numbers: forward, blocks, projectors, resizing, listings.

In: a released student, images and outputs, ladder weights, key listings (`docs/verify.md`). Out: one `CheckResult`
per quantity. Widths, depths, heads, teacher names and image sizes are read from the files.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from codistill.encoders.base import renormalize
from codistill.student.load import student_of_weights
from codistill.student.projectors import LadderProjector, ProjectorConfig, StudentShape
from codistill.student.student import Student
from codistill.teachers.teacher import resize_for_patch
from codistill.types import TokenKind, Tokens
from codistill.verify.check import CheckResult, absent, compare_tensors, failed
from codistill.verify.student_keys import listing_checks
from codistill.verify.suite import Part
from codistill.weights.layouts import read_student_weights

FORWARD_TOLERANCE = 5e-6
STUDENT_FILE = "dune_nano_released_layout.pth"
HALF = (0.5, 0.5, 0.5)

_SIZE = re.compile(r"image_(\d+x\d+)")
_RESIZED = re.compile(r"pos_embed_resized_to_(\d+)")
_RUNG = re.compile(r"weights/heads\.([^.]+)\.(cls|patch)\.(\d+)\.layers\.0\.weight")


@torch.inference_mode()
def forward_checks(student_file: Path, forward: Path) -> Iterator[CheckResult]:
    """Check encoder, blocks and projectors at every size in the file, a teacher's image, and resized positions."""
    weights = read_student_weights(student_file)
    student, recorded = student_of_weights(weights), load_file(forward)

    def check(name: str, got: Tensor | None) -> CheckResult:
        if name not in recorded:
            return absent(f"student: {name}", f"{name} in {forward.name}")
        if got is None:
            return failed(f"student: {name}", FORWARD_TOLERANCE, "the network gives no such token")
        return compare_tensors(f"student: {name}", got, recorded[name], FORWARD_TOLERANCE)

    for key in sorted(recorded):
        if match := _SIZE.fullmatch(key):
            for name, got in _forward(student, recorded[key], match[1]).items():
                yield check(name, got)
    for key in sorted(recorded):
        if match := _RESIZED.fullmatch(key):
            resized = weights.encoder.at_image_size(int(match[1]) * weights.encoder.config.patch_size)
            yield check(key, resized.tensors["pos_embed"])
        elif key.startswith("teacher_image/patch"):
            patch = int(re.sub(r"\D", "", key.split("_")[1]))
            image = recorded["teacher_image/student_image"]
            wide = resize_for_patch(image, student.encoder.config.patch_size, patch)
            yield check(key, renormalize(wide, HALF, HALF))


def _forward(student: Student, images: Tensor, size: str) -> dict[str, Tensor | None]:
    """Compute all quantities that are recorded for one image size, by their recorded names."""
    got: dict[str, Tensor | None] = {}
    encoder, depth = student.encoder, student.encoder.config.depth
    for norm, word in ((True, "norm"), (False, "nonorm")):
        tokens = encoder(images, norm=norm)
        for part, name in ((tokens.cls, "cls"), (tokens.patches, "patch"), (tokens.registers, "reg")):
            got[f"encoder_{size}_{word}_{name}"] = part
    last = min(2, depth)
    for i, tokens in enumerate(encoder.intermediate(images, range(depth - last, depth))):
        got[f"intermediate_{size}_last{last}_{i}_cls"] = tokens.cls
        got[f"intermediate_{size}_last{last}_{i}_patch_chw"] = tokens.feature_map()
    for teacher, tokens in student(images).items():
        got[f"projector_{size}_{teacher}_cls"] = tokens.cls
        got[f"projector_{size}_{teacher}_patch_chw"] = tokens.feature_map()
    return got


@torch.inference_mode()
def ladder_checks(path: Path) -> Iterator[CheckResult]:
    """Check the ladder projectors of every group (`all_blocks`, `chosen_blocks`, …) and teacher in the file."""
    recorded = load_file(path)
    for group in sorted({key.split("/")[0] for key in recorded}):
        part = {k.removeprefix(f"{group}/"): v for k, v in recorded.items() if k.startswith(f"{group}/")}
        found = [match for key in part if (match := _RUNG.fullmatch(key))]
        depth = max(int(m[1]) for k in part if (m := re.match(r"patch_after_block_(\d+)_", k)))
        for teacher in sorted({match[1] for match in found}):
            prefix = f"weights/heads.{teacher}."
            own = {k.removeprefix(prefix): v for k, v in part.items() if k.startswith(prefix)}
            kinds: tuple[TokenKind, ...] = tuple(
                kind for kind in ("cls", "patch") if f"out_{teacher}_{kind}" in part
            )
            blocks = tuple(sorted({int(match[3]) for match in found if match[1] == teacher}))
            ladder = _ladder(own, kinds, blocks, depth)
            out = ladder([_after_block(part, block + 1) for block in blocks])
            for kind in kinds:
                wanted = part[f"out_{teacher}_{kind}"]
                name = f"ladder: {group}/out_{teacher}_{kind}"
                yield compare_tensors(name, out.of_kind(kind), wanted, FORWARD_TOLERANCE)  # type: ignore[arg-type]


def _ladder(
    weights: dict[str, Tensor], kinds: tuple[TokenKind, ...], blocks: tuple[int, ...], depth: int
) -> LadderProjector:
    width = {block: weights[f"{kinds[0]}.{block}.layers.0.weight"] for block in blocks}
    first, last = width[blocks[0]], width[blocks[-1]]
    config = ProjectorConfig(kind="ladder", blocks=blocks, hidden=first.shape[0], last_hidden=last.shape[0])
    out_dim = weights[f"{kinds[0]}.{blocks[0]}.layers.2.weight"].shape[0]
    shape = StudentShape(dim=first.shape[1], depth=depth, num_heads=1)
    ladder = LadderProjector(config, shape, out_dim, kinds)
    ladder.load_state_dict(weights)
    return ladder


def _after_block(part: dict[str, Tensor], number: int) -> Tokens:
    def find(kind: str) -> Tensor | None:
        names = [k for k in part if k.startswith(f"{kind}_after_block_{number}_")]
        return part[names[0]] if names else None

    patches = find("patch")
    assert patches is not None
    return Tokens(patches=patches, grid=(1, patches.shape[1]), cls=find("cls"), normed=False)


PARTS = (
    Part("student forward", (STUDENT_FILE, "dune_nano_forward.safetensors"), forward_checks),
    Part("ladder projector", ("unic_ladder.safetensors",), ladder_checks),
    Part("student key listings", ("keys_dune_vit*.json",), listing_checks),
)
