"""People as a task: detect all people in an image, and recover each as a posed body in metres. See `tasks/task.py`."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codistill.errors import ConfigError
from codistill.files.json_files import write_json
from codistill.imaging.pictures import as_picture, save_picture
from codistill.metrics.interval import Interval
from codistill.tasks.people.config import RECIPES, PeopleFit
from codistill.tasks.people.data import LAYOUTS, PeopleData, check_people
from codistill.tasks.people.draw import Mark, people_picture
from codistill.tasks.people.export import people_json, write_glb
from codistill.tasks.people.fit import fit_people
from codistill.tasks.people.focal import find_camera
from codistill.tasks.people.load import load_people
from codistill.tasks.people.model import PeopleEstimator, PeopleSearch
from codistill.tasks.people.scores import COLUMNS, by_group, group_lines
from codistill.tasks.people.scoring import PeopleTest, score_people
from codistill.tasks.people.sight import SIGHT
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.task import ImageFile, Predicted, Prediction, Summary, Task


@dataclass(frozen=True, kw_only=True)
class PeopleOutput(PeopleSearch):
    """How people in a user's own images are detected, and what is known about the camera.

    Attributes:
        focal: focal length in pixels.
        fov: field of view across the longer side, degrees; without both, that of EXIF data, else 60.
    """

    focal: float | None = None
    fov: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.focal is not None and self.fov is not None:
            raise ConfigError("give the focal length (--focal) or the field of view (--fov), not both")
        if self.focal is not None and not 0 < self.focal < math.inf:
            raise ConfigError(f"the focal length must be a positive number of pixels; got {self.focal}")
        if self.fov is not None and not 0 < self.fov < 180:
            raise ConfigError(f"the field of view must lie between 0 and 180 degrees; got {self.fov}")


def _summarize(table: ScoreTable, data: PeopleData, test: PeopleTest) -> Summary:
    matches, misses, wrong = (int(value) for value in table.values["counts"].sum(0))
    groups = by_group(table)
    plain: dict[str, Any] = {
        fact: {
            title: {name: asdict(one) if isinstance(one, Interval) else one for name, one in group.items()}
            for title, group in bins.items()
        }
        for fact, bins in groups.items()
    }
    return Summary(
        facts={
            "truth": test.truth,
            "people": matches + misses,
            "matches": matches,
            "misses": misses,
            "false_positives": wrong,
            "groups": plain,
        },
        lines=tuple(group_lines(groups)),
    )


def _predict(
    model: PeopleEstimator, pixels: np.ndarray, image: ImageFile, options: PeopleOutput, out: Path
) -> Predicted:
    size = (pixels.shape[0], pixels.shape[1])
    camera = find_camera(image.path, *size, focal=options.focal, field_of_view=options.fov)
    found = model(pixels, camera.intrinsics).within(*size, camera.intrinsics)
    intrinsics, vertices = camera.intrinsics.numpy(), found.vertices.numpy()
    faces = model.body.faces.cpu().numpy()
    marks = [
        Mark(f"{number}: {float(z):.1f} m", (float(x), float(y)))
        for number, ((x, y), z) in enumerate(
            zip(found.joints_2d[:, model.body.head_idx], found.head[:, 2], strict=True), start=1
        )
    ]
    picture = people_picture(pixels, intrinsics, vertices, faces, marks)
    files = [image.within(out, suffix) for suffix in (".png", ".json", ".glb")]
    save_picture(as_picture(picture, picture.shape[:2]), files[0])
    write_json(files[1], people_json(str(image.path), size, camera, model.body, found))
    write_glb(files[2], vertices, faces, camera, size)
    nearest = f", the nearest {float(found.head[0, 2]):.1f} m away" if len(found) else ""
    people = "nobody" if not len(found) else "1 person" if len(found) == 1 else f"{len(found)} people"
    facts = {
        "people": [
            {"score": round(float(score), 4), "distance": round(float(head[2]), 4)}
            for score, head in zip(found.score, found.head, strict=True)
        ],
        "focal_from": camera.source,
    }
    return Predicted(f"{people}{nearest} (focal length: {camera.source})", files, facts)


TASK = Task(
    name="people",
    features=("encoder", "projector", "denormalize", "blocks"),
    about="everybody in an image as a posed body in metres: Multi-HMR's head",
    layouts=LAYOUTS,
    config=PeopleFit,
    recipes=RECIPES,
    fit=fit_people,
    check=check_people,
    load=load_people,
    test=PeopleTest,
    score=score_people,
    columns=COLUMNS,
    unit="per cent for detection, millimetres for errors, metres for place",
    summarize=_summarize,
    sight=SIGHT,
    predict=Prediction(
        options=PeopleOutput,
        run=_predict,
        writes="DIR/NAME.people.png (numbered meshes over the image, and from above), "
        "DIR/NAME.people.json (parameters, joints), DIR/NAME.people.glb (meshes and camera)",
    ),
    baselines={"mean-body": "the training people's mean body at each of a head's detections"},
    on_head=("mean-body",),
)
