"""`codistill pca IMAGE… --encoder E --out PNG`: look at features. Several encoders stand side by side."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from codistill.analysis.colours import colour_columns
from codistill.commands.analyze_images import picture_of
from codistill.commands.parsers.pca import parse
from codistill.commands.predicting import exit_code, find_images, readable
from codistill.encoders.base import Encoder
from codistill.encoders.load import load_encoder
from codistill.errors import CodistillError, ConfigError
from codistill.imaging.pictures import grid_picture, save_picture
from codistill.student.load import load_student
from codistill.student.student import Student
from codistill.types import Tokens


@torch.inference_mode()
def _tokens(
    name: str, arguments: argparse.Namespace, images: Sequence[str]
) -> tuple[list[Tokens], list[np.ndarray]]:
    """Per image its tokens, and the image as it was seen."""
    student = _student(name, arguments.teacher) if arguments.teacher else None
    encoder: Encoder = student.encoder if student else load_encoder(name)
    seen = [encoder.preprocess(image, arguments.size) for image in images]
    pictures = [picture_of(one) for one in seen]
    if student is None:
        return [encoder(one, norm=not arguments.no_norm) for one in seen], pictures
    outputs = []
    for one in seen:
        blocks = encoder.intermediate(one, student.projector_blocks, norm=False)
        outputs.append(student.project(blocks, arguments.teacher, denormalize=True))
    return outputs, pictures


def _student(name: str, teacher: str) -> Student | None:
    """The student of that name if it has a projector onto this teacher."""
    try:
        student = load_student(name)
    except (
        CodistillError
    ):  # an encoder alone, or another kind: load_encoder says what is wrong with it, if anything
        return None
    return student if teacher in student.projectors else None


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = parse(argv)
    if arguments.size < 1:
        raise ConfigError(f"--size must be positive; got {arguments.size}")
    named = find_images(arguments.images)
    images = [str(image.path) for image in readable(named)]
    if not images:
        return exit_code(len(named), len(named))
    results = [_tokens(name, arguments, images) for name in arguments.encoder]
    columns = colour_columns(
        [tokens for tokens, _ in results], separate=arguments.separate, shared_basis=arguments.shared_basis
    )
    inputs = results[0][1]
    rows = [[inputs[i], *(column[i] for column in columns)] for i in range(len(inputs))]
    cell = (224, 224)
    captions = ["image", *(Path(name).name or name for name in arguments.encoder)]
    save_picture(grid_picture(rows, captions, cell), arguments.out)
    print(f"wrote {arguments.out}: {len(rows)} image(s), {len(columns)} encoder(s)")
    return exit_code(len(named) - len(images), len(named))
