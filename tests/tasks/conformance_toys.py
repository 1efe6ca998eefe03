"""A toy of every task, for `test_conformance.py`: one row a task."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from task_toys import ENCODER, class_folder, depth_folder, photo_folder, segmentation_folder

DEEPER = "random:vit_tiny,depth=4,dim=48,num_heads=2,image_size=56"


@dataclass(frozen=True, kw_only=True)
class Toy:
    """What a task is tried on.

    Attributes:
        data: makes a data set in a folder; gives `LAYOUT:FOLDER`.
        encoder: tiny.
        fit: a recipe and fields of a fit of some steps; nothing where nothing is fitted.
        score: options of scoring.
        subject: what is scored where nothing is fitted; None: the encoder.
        stop: `MODULE:NAME` of a function that a fit calls often, and the call before which the fit is to end. The
            engine gets a signal then; other fits are killed (an exception).
        options: fields that end a fit early, in place of `stop`.
        engine: the fit runs in the engine.
    """

    data: Callable[[Path], str]
    encoder: str = ENCODER
    fit: tuple[str, ...] = ()
    score: tuple[str, ...] = ()
    subject: tuple[str, ...] | None = None
    stop: tuple[str, int] | None = None
    options: tuple[str, ...] = ()
    engine: bool = False


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


SMALL = "--vectors.resize 56 --vectors.crop 42"

TOYS = {
    "segmentation": Toy(
        data=lambda folder: f"folder:{segmentation_folder(folder, train=6, val=3)}",
        fit=words("published --steps 6 --batch-size 2 --size 42"),
        stop=("codistill.tasks.dense.objective:HeadObjective.step", 4),
        engine=True,
    ),
    "depth": Toy(
        data=lambda folder: f"folder:{depth_folder(folder, train=10, val=3)}",
        fit=words(
            "cached --steps 120 --batch-size 2 --size 42 --views 1 --pixels 8 --learning-rates 1e-3 1e-2"
        ),
        stop=("codistill.tasks.shared.batched_fit:HeadsAdamW.step", 110),
    ),
    "knn": Toy(
        data=lambda folder: f"folder:{class_folder(folder)}",
        fit=words(f"usual --neighbours 1 3 --batch-size 4 {SMALL}"),
        score=words("--batch-size 3"),
        stop=("codistill.tasks.classification.bank:encode", 3),
    ),
    "linear": Toy(
        data=lambda folder: f"folder:{class_folder(folder)}",
        encoder=DEEPER,
        fit=words(f"published --steps 24 --batch-size 4 {SMALL}"),
        stop=("codistill.tasks.shared.batched_fit:HeadsSGD.step", 22),
    ),
    "brightness": Toy(  # of an installed package
        data=lambda folder: f"grey:{photo_folder(folder)}",
        fit=words("plain --steps 4 --view.crop 42"),
        score=words("--percent"),
        options=words("--stop-after 2"),
    ),
}
