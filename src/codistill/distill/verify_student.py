"""Numerical checks of the student against recorded numbers: forward, blocks, projectors, resizing, listings.

In: a folder laid out as the published golden numbers are (`docs/verify.md`). Out: one `CheckResult` per quantity.
Widths, depths, heads, teacher names and image sizes are read from the folder.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from codistill.encoders.base import renormalize
from codistill.encoders.vit import ViTEncoder
from codistill.metrics.check import CheckResult, absent, compare_tensors, failed
from codistill.nn.vit import VIT_SIZES, vit_config
from codistill.student.load import student_of_weights
from codistill.student.projectors import LadderProjector, ProjectorConfig, StudentShape
from codistill.student.student import Student
from codistill.teachers.teacher import resize_for_patch
from codistill.types import TargetSpec, TokenKind, Tokens
from codistill.weights.layouts import read_student_weights

FORWARD_TOLERANCE = 5e-6
STUDENT_FILE = "dune_nano_released_layout.pth"
FORWARD_FILE = "dune_nano_forward.safetensors"
LADDER_FILE = "unic_ladder.safetensors"
HALF = (0.5, 0.5, 0.5)

_SIZE = re.compile(r"image_(\d+x\d+)")
_RESIZED = re.compile(r"pos_embed_resized_to_(\d+)")
_LISTING = re.compile(r"keys_dune_vit([a-z]+)(\d+)_(\d+)\.json")
_RUNG = re.compile(r"weights/heads\.([^.]+)\.(cls|patch)\.(\d+)\.layers\.0\.weight")


def checks(folder: Path) -> Iterator[CheckResult]:
    """Every check of the student that the folder has numbers for."""
    for name in (STUDENT_FILE, FORWARD_FILE):
        if not (folder / name).exists():
            yield absent(f"student forward: {name}", name)
            break
    else:
        yield from forward_checks(folder)
    if (folder / LADDER_FILE).exists():
        yield from ladder_checks(load_file(folder / LADDER_FILE))
    else:
        yield absent("ladder projector", LADDER_FILE)
    listings = sorted(path for path in folder.iterdir() if _LISTING.fullmatch(path.name))
    if not listings:
        yield absent("student key listings", "keys_dune_ARCH_SIZE.json")
    for path in listings:
        yield listing_check(path)


@torch.inference_mode()
def forward_checks(folder: Path) -> Iterator[CheckResult]:
    """Encoder, blocks, projectors at every size of the file; the teacher's image; the resized position."""
    weights = read_student_weights(folder / STUDENT_FILE)
    student, recorded = student_of_weights(weights), load_file(folder / FORWARD_FILE)

    def check(name: str, got: Tensor | None) -> CheckResult:
        if name not in recorded:
            return absent(f"student: {name}", f"{name} in {FORWARD_FILE}")
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
    """Everything recorded for one image size, by its recorded name."""
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
def ladder_checks(recorded: dict[str, Tensor]) -> Iterator[CheckResult]:
    """Ladder projectors of every group (`all_blocks`, `chosen_blocks`, …) and teacher of the file."""
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


def listing_check(path: Path) -> CheckResult:
    """A published student built at real size on the meta device: names and shapes of every tensor."""
    listing: dict[str, list[int]] = json.loads(path.read_text())
    match = _LISTING.fullmatch(path.name)
    assert match is not None
    size, patch, pixels = match[1], int(match[2]), int(match[3])
    name = f"listing: {path.name}"
    if f"vit_{size}" not in VIT_SIZES:
        return failed(name, 0.0, f"unknown architecture vit{size}; known: {', '.join(VIT_SIZES)}")
    wanted = {own_key(key): tuple(shape) for key, shape in listing.items()}
    registers = wanted.get("encoder.register_tokens", (1, 0, 0))[1]
    with torch.device("meta"):
        config = vit_config(f"vit_{size}", patch_size=patch, image_size=pixels, num_registers=registers)
        student = Student(ViTEncoder(config), _targets(wanted), ProjectorConfig())
    got = {key: tuple(tensor.shape) for key, tensor in student.state_dict().items()}
    wrong = sorted(k for k in got.keys() | wanted.keys() if got.get(k) != wanted.get(k))
    if wrong:
        examples = ", ".join(f"{k}: {got.get(k)} instead of {wanted.get(k)}" for k in wrong[:3])
        return failed(name, 0.0, f"{len(wrong)} of {len(wanted)} differ: {examples}")
    parameters = sum(p.numel() for p in student.parameters())
    return CheckResult(
        name=name, difference=0.0, tolerance=0.0, detail=f"{len(wanted)} tensors, {parameters:,} parameters"
    )


def own_key(key: str) -> str:
    """A released student's key as ours: no prefixes, no chunk index, our word for target statistics."""
    key = re.sub(r"^(module\.|_orig_mod\.)+", "", key)
    key = re.sub(r"^encoder\.blocks\.\d+\.(\d+)\.", r"encoder.blocks.\1.", key)
    return re.sub(r"^teacher_norms\.([^.]+)\.normalizers\.", r"target_statistics.\1.", key)


def _targets(shapes: dict[str, tuple[int, ...]]) -> tuple[TargetSpec, ...]:
    targets: list[TargetSpec] = []
    for key, shape in shapes.items():
        if match := re.fullmatch(r"projectors\.([^.]+)\.linear\.weight", key):
            kinds: tuple[TokenKind, ...] = tuple(
                kind for kind in ("cls", "patch") if f"target_statistics.{match[1]}.{kind}.mean" in shapes
            )
            targets.append(TargetSpec(name=match[1], dim=shape[0], kinds=kinds))
    return tuple(targets)
