"""A perception with the real one's surface and no network: every answer follows from the pixels by a formula."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import torch

from codistill.errors import DataError
from codistill.types import Tokens

PATCH = 14
NAMES = ("floor", "wall", "chair")
PALETTE = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]], np.uint8)


@dataclass
class ToyScene:
    """Answers of `ToyPerception`; see `codistill.perception.scene`."""

    images: list[np.ndarray]
    names: tuple[str, ...]
    want: tuple[str, ...]
    seconds: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def _grid(self, i: int) -> np.ndarray:
        rows, columns = (max(1, side // PATCH) for side in self.images[i].shape[:2])
        return self.images[i][: rows * PATCH, : columns * PATCH][::PATCH, ::PATCH][:rows, :columns]

    @property
    def pca(self) -> list[np.ndarray]:
        return [255 - self._grid(i) for i in range(len(self))]

    @property
    def tokens(self) -> list[Tokens]:
        grids = [torch.from_numpy(self._grid(i).astype(np.float32)) for i in range(len(self))]
        return [
            Tokens(g.reshape(1, -1, 3), (g.shape[0], g.shape[1]), cls=g.reshape(1, -1, 3).mean(1))
            for g in grids
        ]

    def answer(self, name: str, i: int = 0) -> Any:
        if name == "pair":
            cameras = np.stack([np.eye(4)] * len(self))
            cameras[1:, 0, 3] = 0.5
            matches = {(0, 1): np.array([[5.0, 6, 7, 8], [50, 60, 70, 80]], np.float32)}
            points, colours = zip(
                *(self.cloud_of(self._depth(i), i, limit=10**6) for i in range(len(self))), strict=True
            )
            return SimpleNamespace(
                cameras=cameras,
                focals=np.full(len(self), 300.0),
                matches=matches,
                pointmaps=points,
                colours=colours,
                confidence=[np.ones(len(p)) for p in points],
            )
        return getattr(self, f"_{name}")(i)

    def _segmentation(self, i: int) -> Any:
        return SimpleNamespace(
            classes=self.images[i].argmax(axis=2).astype(np.uint8), names=NAMES, palette=PALETTE
        )

    def _depth(self, i: int) -> Any:
        metres = 1.0 + self.images[i][..., 0].astype(np.float32) / 32.0
        metres[0, 0] = np.nan
        return SimpleNamespace(metres=metres)

    def _normals(self, i: int) -> Any:
        facing = np.array([0.0, 0.0, -1.0], np.float32)
        return SimpleNamespace(normals=np.broadcast_to(facing, self.images[i].shape).copy())

    def _people(self, i: int) -> Any:
        corners = [[-0.3, -0.9, 3.0], [0.3, -0.9, 3.0], [0.0, 0.9, 3.1], [0.0, 0.0, 2.7]]
        person = SimpleNamespace(
            score=0.9,
            vertices=np.array(corners, np.float32),
            box=np.array([10.0, 10, 60, 90]),
            joints_2d=np.array([[20.0, 30], [40, 50]]),
        )
        return SimpleNamespace(people=(person,), faces=np.array([[0, 1, 3], [1, 2, 3], [2, 0, 3], [0, 2, 1]]))

    def _scenes(self, i: int) -> Any:
        return SimpleNamespace(best={"room": 0.75, "street": 0.25})

    basis = None

    def camera(self, i: int) -> Any:
        return SimpleNamespace(intrinsics=np.diag([300.0, 300.0, 1.0]))

    def draw(self, name: str, i: int) -> np.ndarray:
        return 255 - self.images[i]

    def _edges(self, i: int) -> Any:
        return None

    def cloud_of(self, answer: Any, i: int, *, limit: int) -> tuple[np.ndarray, np.ndarray]:
        image, depth = self.images[i], answer.metres
        rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
        x, y = (columns - image.shape[1] / 2) / 300 * depth, (rows - image.shape[0] / 2) / 300 * depth
        points = np.stack([x, y, depth], axis=-1).reshape(-1, 3)
        step = max(1, -(-len(points) // limit))
        return points[::step], image.reshape(-1, 3)[::step]

    def similar(self, i: int, row: int, column: int) -> list[np.ndarray]:
        grids = [self._grid(j).astype(np.float32) - 127.5 for j in range(len(self))]
        one = grids[i][row, column]
        return [(g @ one) / np.maximum(np.linalg.norm(g, axis=-1) * np.linalg.norm(one), 1e-6) for g in grids]

    def as_json(self) -> dict[str, Any]:
        return {
            "images": [{"name": name} for name in self.names],
            "seconds": self.seconds,
            "far": float("inf"),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        return {f"{i}/depth": self._depth(i).metres for i in range(len(self)) if "depth" in self.want}


class ToyPerception:
    """Looks, after `delay` seconds; refuses pictures of one colour, and fails on black ones (a bug, for tests)."""

    tasks = MappingProxyType(
        {
            "segmentation": "segmentation",
            "depth": "depth",
            "normals": "normals",
            "people": "people",
            "scenes": "linear",
            "edges": "an added task",
            "pair": "two-view",
        }
    )

    def __init__(self, delay: float = 0.0) -> None:
        self.delay, self.calls = delay, 0

    def describe(self) -> dict[str, Any]:
        facts = {"trained_on": "formulas", "licence": "Apache-2.0", "parameters": 10, "path": "/secret/place"}
        return {
            "about": "Formulas, for tests.",
            "encoder": {
                "name": "/secret/toy.pth",
                "licence": "Apache-2.0",
                "parameters": 12,
                "patch_size": PATCH,
            },
            "heads": {name: {"task": task} | facts for name, task in self.tasks.items()},
        }

    def __call__(
        self,
        images: list[np.ndarray],
        want: tuple[str, ...],
        names: Sequence[str] = ("a", "b"),
        basis: Any = None,
    ) -> ToyScene:
        self.calls += 1
        time.sleep(self.delay)
        for image in images:
            if not image.any():
                raise ZeroDivisionError("a bug that black pictures find")
            if (image == image[0, 0]).all():
                raise DataError("a picture of one colour")
        seconds = {"preprocess": 0.001, "encode": 0.03} | dict.fromkeys(want, 0.002)
        return ToyScene([np.asarray(image) for image in images], tuple(names[: len(images)]), want, seconds)
