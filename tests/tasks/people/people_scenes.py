"""A folder of the generic layout: one or two tiny bodies in plain pictures, drawn as blobs at their joints."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from codistill.bodies.tiny import TinyBody
from codistill.geometry.cameras import camera_matrix
from codistill.geometry.projection import project
from codistill.geometry.rotations import rotation_from_6d, rotation_from_vector, rotation_vector
from codistill.heads.human_mesh.place import place_bodies
from codistill.tasks.evaluation import Evaluation, evaluate
from codistill.tasks.opening import fit_task, open_split
from codistill.tasks.people.config import PeopleFit
from codistill.tasks.people.data import LAYOUTS, PeopleData
from codistill.tasks.people.load import load_people
from codistill.tasks.people.model import PeopleEstimator, PeopleSearch
from codistill.tasks.people.scoring import PeopleTest
from codistill.tasks.people.task import TASK
from codistill.tasks.shared.config import Runtime
from codistill.tasks.task import Subject

ENCODER = "random:vit_tiny,depth=2,dim=48,num_heads=2,image_size=56"
ROWS, COLUMNS, FOCAL = 42, 56, 60.0
PAINTS = ((250, 210, 60), (60, 160, 250), (250, 60, 60), (60, 220, 90), (220, 90, 220))


def camera() -> Tensor:
    return camera_matrix(FOCAL, ((COLUMNS - 1) / 2, (ROWS - 1) / 2))


def scene(seed: int) -> tuple[np.ndarray, list[dict]]:
    """An image and its people, as the JSON lines say them."""
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    body, count = TinyBody(), 1 + seed % 2
    vectors = 0.3 * torch.randn(count, body.n_rot, 3, generator=generator)
    rotmat = rotation_from_6d(body.init_6d) @ rotation_from_vector(vectors)
    shape = torch.randn(count, body.n_shape, generator=generator)
    pelvis = torch.tensor(
        [[-0.6 + 1.2 * i + rng.uniform(-0.2, 0.2), 0.2, rng.uniform(3, 5)] for i in range(count)]
    )
    placed = place_bodies(body, rotmat, shape, pelvis=pelvis.float())
    pixels = project(placed.joints, camera().expand(count, 3, 3))
    picture = Image.fromarray(rng.integers(0, 60, (ROWS, COLUMNS, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for person in pixels.tolist():
        blobs = [*zip(person, PAINTS, strict=True)]
        for (x, y), paint in (*blobs, blobs[2]):  # the head again, over everything
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=paint)
    people = [
        {
            "rotation_vectors": rotation_vector(rotmat[i]).tolist(),
            "shape": shape[i].tolist(),
            "pelvis": pelvis[i].tolist(),
            "visible": 0.5 + 0.45 * i,
        }
        for i in range(count)
    ]
    return np.asarray(picture), people


def write_folder(root: Path, train: int = 16, val: int = 4) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "people.json").write_text(json.dumps({"body": "tiny"}))
    (root / "images").mkdir(exist_ok=True)
    for split, first, count in (("train", 0, train), ("val", 100, val)):
        lines = []
        for seed in range(first, first + count):
            image, people = scene(seed)
            name = f"images/{seed:04d}.png"
            Image.fromarray(image).save(root / name)
            lines.append(json.dumps({"image": name, "focal": FOCAL, "people": people}))
        (root / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return root


def open_people(spec: str, split: str, partial: bool = False) -> PeopleData:
    return open_split(LAYOUTS, spec, split, partial=partial)


def fit_people(config: PeopleFit, runtime: Runtime) -> bool:
    return fit_task(TASK, config, runtime)


def load_head(head: Path, search: PeopleSearch | None = None) -> PeopleEstimator:
    return load_people(Subject(head=head), search)


def scored(model: Any, data: PeopleData, pictures: int = 0, cells: int | None = None) -> Evaluation:
    test = PeopleTest(cells=cells)
    outcomes = TASK.score(model, data, test, Runtime(out=Path()))
    return evaluate(TASK, outcomes, data, test, pictures=pictures)
