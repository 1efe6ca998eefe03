"""`codistill analyze E… --images A B …`: pictures of encoders' features, attention and nearest patches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from codistill.analysis.artefacts import BEFORE_AND_AFTER, artefacts_of
from codistill.analysis.attention import cls_attention, nearest_patches
from codistill.analysis.colours import colour_columns
from codistill.analysis.overlays import heat, lines_between, mutual_matches, position_colors, tinted
from codistill.encoders.base import Encoder
from codistill.encoders.load import load_encoder
from codistill.encoders.test_time_register import find_register_neurons
from codistill.encoders.vit import TransformerEncoder, ViTEncoder
from codistill.errors import ConfigError, DataError
from codistill.imaging import read_rgb
from codistill.imaging.normalize import unnormalized
from codistill.imaging.pictures import grid_picture, save_picture
from codistill.tasks.shared.record import write_metrics
from codistill.types import Tokens

CELL = (256, 256)
LINES = 20
"""Number of patch pairs that are drawn."""
LONGEST = 20
"""Longest side of an image over its shortest one; the size given is that of the shortest."""


def prepared(encoder: Encoder, image: str, size: int) -> Tensor:
    """Preprocess an image whose shorter side is to have `size` pixels.

    Raises:
        DataError: if it cannot be read, or is so long that it would have a multiple of the tokens of other images.
    """
    pixels = read_rgb(image)
    short, long = sorted(pixels.shape[:2])
    if long > LONGEST * short:
        raise DataError(
            f"{image}: {pixels.shape[1]}x{pixels.shape[0]} pixels are a strip: with {size} pixels on its shorter side "
            f"it would be {round(size * long / short)} pixels long. Crop it to at most {LONGEST} times its shorter side"
        )
    return encoder.preprocess(Image.fromarray(pixels), size)  # arrays of few rows are ambiguous


def picture_of(images: Tensor) -> np.ndarray:
    """Convert a normalized image (1, 3, row, column) to floats in [0, 1], (row, column, 3)."""
    return unnormalized(images[:1].cpu())[0].permute(1, 2, 0).numpy()


def drawn_files(encoders: int) -> list[str]:
    """Names of the pictures that `analyze_images` may write."""
    heads = [_heads_file(number) for number in range(encoders)]
    return ["pca.png", "attention.png", *heads, "artefacts.png", "nearest_patches.png"]


def _heads_file(number: int) -> str:
    return f"attention_heads_{number + 1}.png"


@torch.inference_mode()
def analyze_images(
    names: Sequence[str], images: Sequence[str], size: int, block: int, out: Path, command: list[str]
) -> dict[str, Any]:
    """Draw `pca.png`, `attention*.png`, `artefacts.png` and, for two or more images, `nearest_patches.png`.

    Encoders without attention maps (all but codistill's vision transformers) are left out of the attention pictures,
    and listed.

    Returns:
        The content of the JSON file.
    """
    encoders = {name: load_encoder(name) for name in names}
    seen = {name: [prepared(encoder, image, size) for image in images] for name, encoder in encoders.items()}
    pictures = {name: [picture_of(one) for one in own] for name, own in seen.items()}
    tokens = {name: [encoders[name](one) for one in own] for name, own in seen.items()}
    able = {name: one for name, one in encoders.items() if isinstance(one, TransformerEncoder)}
    attended = {  # before any picture is written, as not every encoder has every block
        name: [cls_attention(one, image, block)[0] for image in seen[name]] for name, one in able.items()
    }
    captions = [Path(name).name or name for name in names]
    first = pictures[names[0]]
    columns = colour_columns(list(tokens.values()))
    rows = [[first[i], *(column[i] for column in columns)] for i in range(len(images))]
    save_picture(grid_picture(rows, ["image", *captions], CELL), out / "pca.png")
    numbers: dict[str, Any] = {"encoders": list(names), "images": [Path(image).name for image in images]}
    numbers["attention"] = _attention(attended, pictures, out)
    numbers["attention"]["without"] = sorted(encoders.keys() - able.keys())
    numbers["artefacts"] = _artefacts(encoders, images, size, out)
    if len(images) > 1:
        numbers["nearest_patches"] = _nearest(tokens, pictures, out)
    write_metrics(out / "images.json", numbers, command)
    return numbers


def save_register_neurons(
    names: Sequence[str], images: Sequence[str], size: int, count: int, out: Path
) -> dict[str, Path]:
    """Write `register_neurons_{place}.json` for every encoder, see `encoders/test_time_register.py`; returns paths."""
    files = {}
    for number, name in enumerate(names):
        encoder = load_encoder(name)
        if not isinstance(encoder, ViTEncoder):
            raise ConfigError(
                f"{name} is not one of our vision transformers: it has no register neurons to find"
            )
        squares = [encoder.preprocess(image, (size, size)) for image in images]
        files[name] = out / f"register_neurons_{number + 1}.json"
        find_register_neurons(encoder, squares, count).save(files[name])
    return files


def _attention(
    attended: dict[str, list[Tensor]], pictures: dict[str, list[np.ndarray]], out: Path
) -> dict[str, Any]:
    """Draw the class token's attention: the mean over heads of all encoders side by side, and each encoder's heads."""
    numbers: dict[str, Any] = {"on_patches": {}}
    means: dict[str, list[np.ndarray]] = {}
    for number, (name, maps) in enumerate(attended.items()):
        means[name] = [heat(p, one.mean(0)) for p, one in zip(pictures[name], maps, strict=True)]
        numbers["on_patches"][name] = round(
            float(torch.stack([m.sum((1, 2)).mean() for m in maps]).mean()), 4
        )
        rows = [[p, *(heat(p, head) for head in one)] for p, one in zip(pictures[name], maps, strict=True)]
        heads = [f"head {index}" for index in range(len(maps[0]))]
        captions = [Path(name).name or name, *heads]
        save_picture(grid_picture(rows, captions, CELL), out / _heads_file(number))
    if means:
        originals = pictures[next(iter(means))]
        rows = [[originals[i], *(own[i] for own in means.values())] for i in range(len(originals))]
        captions = ["image", *(Path(name).name or name for name in means)]
        save_picture(grid_picture(rows, captions, CELL), out / "attention.png")
    return numbers


def _artefacts(encoders: dict[str, Encoder], images: Sequence[str], size: int, out: Path) -> dict[str, Any]:
    """Draw token norms and position-dependent patterns of each encoder, on square images: one row of maps each."""
    rows, numbers = [], {}
    for name, encoder in encoders.items():
        squares = [encoder.preprocess(image, (size, size)) for image in images]
        found = artefacts_of(encoder, squares)
        numbers[name] = {when: of.numbers() for when, of in found.items()}
        picture = picture_of(squares[0])
        blank = np.zeros_like(picture)
        both = [found.get(when) for when in BEFORE_AND_AFTER]
        maps = [(picture, None if of is None else of.lengths[0]) for of in both]
        maps += [(blank, None if of is None else of.pattern) for of in both]
        drawn = (blank if values is None else heat(over, torch.from_numpy(values)) for over, values in maps)
        rows.append([picture, *drawn])
    captions = [
        "image 1",
        "lengths before the final norm",
        "after it",
        "pattern of all images before",
        "after it",
    ]
    save_picture(grid_picture(rows, captions, CELL), out / "artefacts.png")
    return numbers


def _nearest(
    tokens: dict[str, list[Tokens]], pictures: dict[str, list[np.ndarray]], out: Path
) -> dict[str, Any]:
    """Draw, per encoder, positions in the first image as colours, and the second in its nearest patches' colours."""
    rows, numbers = [], {}
    for name, (one, other, *_) in tokens.items():
        first, second = pictures[name][:2]
        forward, similarity = nearest_patches(one, other)
        backward, _ = nearest_patches(other, one)
        colors = position_colors(*one.grid)
        found = colors.flatten(0, 1)[backward[0].cpu()].unflatten(0, other.grid)
        pairs = mutual_matches(forward[0].cpu(), backward[0].cpu(), similarity[0].cpu(), LINES)
        lines = lines_between(first, second, pairs, (one.grid, other.grid))
        rows.append([tinted(first, colors), tinted(second, found), lines])
        mutual = backward[0][forward[0]] == torch.arange(forward.shape[1], device=forward.device)
        numbers[name] = {
            "mean similarity": round(float(similarity.mean()), 4),
            "mutual": round(float(mutual.float().mean()), 4),
        }
    captions = ["places of image 1", "what image 2 finds there", f"{LINES} best mutual matches"]
    cell = (CELL[0], 2 * CELL[1])
    save_picture(grid_picture(rows, captions, cell), out / "nearest_patches.png")
    return numbers
