"""A toy of every task, for `test_conformance.py`: one row a task."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pair_toys import multiview_folder, pair_folder
from people_scenes import write_folder as people_folder
from spair_toys import spair_folder
from task_toys import ENCODER, class_folder, depth_folder, normals_folder, photo_folder, segmentation_folder

DEEPER = "random:vit_tiny,depth=4,dim=48,num_heads=2,image_size=56"


@dataclass(frozen=True, kw_only=True)
class Toy:
    """What a task is tried on.

    Attributes:
        data: makes a data set in a folder; gives `LAYOUT:FOLDER`.
        encoder: tiny.
        fit: a recipe and fields of a fit of some steps; nothing where nothing is fitted.
        score: options of scoring.
        stop: `MODULE:NAME` of a function that a fit calls often, and the call before which the fit is to end. The
            engine gets a signal then; other fits are killed (an exception).
        options: fields that end a fit early, in place of `stop`.
        engine: the fit runs in the engine.
    """

    data: Callable[[Path], str]
    encoder: str = ENCODER
    fit: tuple[str, ...] = ()
    score: tuple[str, ...] = ()
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
    "normals": Toy(
        data=lambda folder: f"folder:{normals_folder(folder, train=6, val=3)}",
        fit=words("published --steps 6 --batch-size 2 --size 42"),
        stop=("codistill.tasks.dense.objective:HeadObjective.step", 4),
        engine=True,
    ),
    "people": Toy(
        data=lambda folder: f"folder:{people_folder(folder, train=6, val=3)}",
        fit=words(
            "small --steps 6 --batch-size 4 --size 56 --every-vertex 1 --head.dim 32 --head.depth 1 --head.num-heads 2 "
            "--head.head-dim 16 --head.hidden 32 --head.window None"
        ),
        stop=("codistill.tasks.people.objective:PeopleObjective.step", 4),
        engine=True,
    ),
    "two-view": Toy(
        data=lambda folder: f"folder:{pair_folder(folder)}",
        fit=words(
            "small --steps 4 --batch-size 2 --size 28 42 --views 1 --matches 32 --shape.dim 48 --shape.depth 2 "
            "--shape.num-heads 2 --shape.level-dims 8 8 8 8 --shape.fusion-dim 8 --shape.middle-dim 8 "
            "--shape.last-dim 8 --shape.descriptor-dim 8 --shape.local-hidden 32"
        ),
        score=words("--samples 20"),
        stop=("codistill.tasks.two_view.objective:TwoViewObjective.step", 3),
        engine=True,
    ),
    "relocalization": Toy(data=lambda folder: f"folder:{pair_folder(folder)}", score=words("--samples 20")),
    "multiview-depth": Toy(data=lambda folder: f"multiview:{multiview_folder(folder)}"),
    "multiview-pose": Toy(
        data=lambda folder: f"multiview:{multiview_folder(folder)}", score=words("--samples 20")
    ),
    "correspondence": Toy(
        data=lambda folder: f"folder:{pair_folder(folder)}", score=words("--size 56 --stride 4 --matches 20")
    ),
    "semantic-correspondence": Toy(
        data=lambda folder: f"spair:{spair_folder(folder)}", score=words("--size 56 --partial")
    ),
    "artefacts": Toy(
        data=lambda folder: f"folder:{photo_folder(folder)}", score=words("--size 56 --batch-size 4")
    ),
    "brightness": Toy(  # of an installed package
        data=lambda folder: f"grey:{photo_folder(folder)}",
        fit=words("plain --steps 4 --view.crop 42"),
        score=words("--percent"),
        options=words("--stop-after 2"),
    ),
}
