"""`codistill pca IMAGE… --encoder E --out PNG`: features as PCA colours, with several encoders side by side."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from codistill.analysis.colours import colour_columns
from codistill.commands.analyze_images import picture_of, prepared
from codistill.commands.parsers.pca import parse
from codistill.commands.predicting import check_results, exit_code, find_images, say_passed_over
from codistill.encoders.base import Encoder
from codistill.encoders.load import load_encoder
from codistill.encoders.preprocess import check_size
from codistill.errors import CodistillError, ConfigError, DataError, unknown_name
from codistill.imaging.pictures import check_picture, grid_picture, save_picture
from codistill.student.load import load_student
from codistill.student.student import Student
from codistill.types import Tokens


@torch.inference_mode()
def _tokens(
    name: str,
    student: Student | None,
    arguments: argparse.Namespace,
    images: Sequence[str],
    refused: dict[str, str],
) -> dict[str, tuple[Tokens, np.ndarray]]:
    """Tokens of every image, and the prepared image; reasons why an image cannot be used are added to `refused`."""
    encoder: Encoder = student.encoder if student else load_encoder(name)
    check_size(arguments.size, encoder.spec.patch_size)
    found: dict[str, tuple[Tokens, np.ndarray]] = {}
    for image in images:
        try:
            seen = prepared(encoder, image, arguments.size)
        except DataError as error:
            refused.setdefault(image, str(error))
            continue
        if student is None:
            tokens = encoder(seen, norm=not arguments.no_norm)
        else:
            blocks = encoder.intermediate(seen, student.projector_blocks, norm=False)
            tokens = student.project(blocks, arguments.teacher, denormalize=True)
        found[image] = (tokens, picture_of(seen))
    return found


def _students(encoders: Sequence[str], teacher: str) -> dict[str, Student]:
    """The encoders that are students with a projector for this teacher, by name.

    Raises:
        ConfigError: if there is none.
    """
    found: dict[str, Student] = {}
    others: dict[str, list[str]] = {}
    for name in encoders:
        try:
            student = load_student(name)
        except CodistillError:  # not a student: load_encoder reports errors
            continue
        if teacher in student.projectors:
            found[name] = student
        else:
            others[name] = list(student.projectors)
    if not found:
        known = sorted({one for names in others.values() for one in names})
        raise ConfigError(
            f"--teacher: {unknown_name('teacher', teacher, known)}"
            if known
            else f"--teacher {teacher} would have no effect: none of {', '.join(encoders)} is a student"
        )
    for name, known in others.items():
        print(
            f"{name}: has no projector of {teacher} (only {', '.join(known)}): its own features",
            file=sys.stderr,
        )
    return found


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    check_picture(arguments.out)
    found = find_images(arguments.images)
    check_results(found, [arguments.out])
    images = [str(image.path) for image in found]
    refused: dict[str, str] = {}
    students = _students(arguments.encoder, arguments.teacher) if arguments.teacher else {}
    if arguments.no_norm and all(name in students for name in arguments.encoder):
        raise ConfigError(
            f"--no-norm would have no effect: all encoders are shown as they are projected onto {arguments.teacher}, "
            "and projections have no final norm"
        )
    results = [_tokens(name, students.get(name), arguments, images, refused) for name in arguments.encoder]
    for image, reason in refused.items():
        say_passed_over(image, reason)
    shown = [image for image in images if image not in refused]
    if not shown:
        return exit_code(len(images), len(images))
    width, *others = (found[shown[0]][0].patches.shape[-1] for found in results)
    if arguments.shared_basis and width not in others:
        raise ConfigError(
            f"--shared-basis would have no effect: no other encoder has the width of {arguments.encoder[0]} ({width})"
        )
    columns = colour_columns(
        [[found[image][0] for image in shown] for found in results],
        separate=arguments.separate,
        shared_basis=arguments.shared_basis,
    )
    inputs = [results[0][image][1] for image in shown]
    rows = [[inputs[i], *(column[i] for column in columns)] for i in range(len(inputs))]
    cell = (224, 224)
    captions = ["image", *(Path(name).name or name for name in arguments.encoder)]
    save_picture(grid_picture(rows, captions, cell), arguments.out)
    print(f"wrote {arguments.out}: {len(rows)} image(s), {len(columns)} encoder(s)")
    return exit_code(len(refused), len(images))
