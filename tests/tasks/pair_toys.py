"""Posed pairs whose truth is known in closed form: two cameras before a wavy wall."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from PIL import Image

from codistill.geometry.cameras import ImageFit
from codistill.heads.two_view.network import TwoViewShape, ViewPrediction
from codistill.tasks.two_view.decode import EncodedView, PairPrediction
from codistill.tasks.two_view.pairs import Pair, PosedImage
from codistill.tasks.two_view.predict import TwoViewPredictor

SIZE = (56, 84)
ENCODER = "random:vit_tiny,dim=48,depth=2,num_heads=3,patch_size=14,image_size=56"
SHAPE = TwoViewShape(
    dim=48,
    depth=2,
    num_heads=2,
    level_dims=(8, 8, 8, 8),
    fusion_dim=8,
    middle_dim=8,
    last_dim=8,
    descriptor_dim=8,
    local_hidden=32,
)
"""Of small heads on `ENCODER`."""
INTRINSICS = np.array([[70.0, 0.0, 41.5], [0.0, 70.0, 27.5], [0.0, 0.0, 1.0]])


def look(x: float, y: float, degrees: float) -> np.ndarray:
    """Camera-to-world: at (x, y, 0), turned about the vertical axis."""
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array([0.0, np.radians(degrees), 0.0]))[0]
    pose[:3, 3] = [x, y, 0.0]
    return pose


def plane_view(
    pose: np.ndarray, name: str, size: tuple[int, int] = SIZE, k: np.ndarray = INTRINSICS
) -> PosedImage:
    """A view of the plane z = 3 + 0.2 x (world), with colours that say where on the plane a pixel looks."""
    rows, columns = size
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    rays = np.stack(((x - k[0, 2]) / k[0, 0], (y - k[1, 2]) / k[1, 1], np.ones_like(x)), axis=-1)
    world = rays @ pose[:3, :3].T
    center = pose[:3, 3]
    depth = (3.0 + 0.2 * center[0] - center[2]) / (world[..., 2] - 0.2 * world[..., 0])
    points = center + world * depth[..., None]
    waves = np.stack(
        [np.sin(7 * points[..., 0]), np.cos(5 * points[..., 1]), np.sin(3 * points.sum(-1))], axis=-1
    )
    image = (127.5 + 120 * waves).astype(np.uint8)
    return PosedImage(image, depth.astype(np.float32), k.copy(), pose, name)


def plane_pair(degrees: float = 6.0, shift: float = 0.3) -> Pair:
    """Two views of the plane; the second is moved and turned."""
    first, second = plane_view(look(0, 0, 0), "first"), plane_view(look(shift, 0.1, -degrees), "second")
    return Pair(first, second, 0.7, "planes")


def write_views(folder: Path, views: list[PosedImage], *, keys: tuple[int, ...] = (1,)) -> None:
    """Images without loss, cameras.txt, and depth of some: as `folder` and `multiview` have them."""
    for name in ("images", "depth"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lines = ["# NAME fx fy cx cy qw qx qy qz tx ty tz"]
    for number, view in enumerate(views):
        Image.fromarray(view.image).save(folder / "images" / f"{view.name}.png")
        half = cv2.Rodrigues(view.camera_to_world[:3, :3])[0].ravel() / 2
        angle = float(np.linalg.norm(half))
        axis = half / angle if angle else half
        quaternion = [np.cos(angle), *(np.sin(angle) * axis)]
        k, place = view.intrinsics, view.camera_to_world[:3, 3]
        numbers = [k[0, 0], k[1, 1], k[0, 2], k[1, 2], *quaternion, *place]
        lines.append(f"{view.name} {' '.join(f'{value:.9f}' for value in numbers)}")
        if number in keys:
            stored = np.round(view.depth * 1000).astype(np.uint16)
            Image.fromarray(stored).save(folder / "depth" / f"{view.name}.png")
    (folder / "cameras.txt").write_text("\n".join(lines) + "\n")


def pair_folder(root: Path, train: int = 4, test: int = 3) -> Path:
    """The layout `folder`: pairs.txt, cameras.txt, images and depth of planes, each pair moved a little more."""
    for split, count in (("train", train), ("test", test)):
        views, lines = [], []
        for number in range(count):
            poses = look(0, 0.05 * number, 0), look(0.1 + 0.1 * number, 0.1, -2.0 - number)
            views += [plane_view(pose, f"v{number}{end}") for pose, end in zip(poses, "ab", strict=True)]
            lines.append(f"v{number}a v{number}b")
        write_views(root / split, views, keys=tuple(range(len(views))))
        (root / split / "pairs.txt").write_text("\n".join(lines) + "\n")
    return root


def multiview_folder(root: Path, samples: int = 2) -> Path:
    """The layout `multiview`: samples of three planes, the second one the key."""
    for sample in range(samples):
        poses = (look(0.1 * number, 0.05 * sample, -2.0 * number) for number in range(3))
        views = [plane_view(pose, f"v{number}") for number, pose in enumerate(poses)]
        write_views(root / "test" / f"s{sample}", views)
    return root


@dataclass(frozen=True)
class ToyPairs:
    """A data set of pairs of planes, each moved a little more."""

    count: int = 4

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Pair:
        return replace(plane_pair(2.0 + index, 0.1 + 0.1 * index), name=f"pair {index}")


def _fourier(points: np.ndarray) -> torch.Tensor:
    """(1, row, column, 32) unit descriptors that are alike only for points close to each other."""
    waves = np.random.default_rng(3).normal(size=(2, 16)) * 9
    angles = points[..., :2] @ waves
    features = np.concatenate((np.sin(angles), np.cos(angles)), axis=-1) / 4
    return torch.from_numpy(features).float()[None]


def _points(view: PosedImage) -> np.ndarray:
    """(row, column, 3) world points, by the formula and not by the library."""
    rows, columns = view.depth.shape
    k = view.intrinsics
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    rays = np.stack(((x - k[0, 2]) / k[0, 0], (y - k[1, 2]) / k[1, 1], np.ones_like(x)), axis=-1)
    return (rays * view.depth[..., None]) @ view.camera_to_world[:3, :3].T + view.camera_to_world[:3, 3]


def oracle_view(view: PosedImage, frame: PosedImage, scale: float = 1.0) -> ViewPrediction:
    """A perfect prediction of `view` in the camera frame of `frame`, times a scale."""
    points, pose = _points(view), frame.camera_to_world
    local = (points - pose[:3, 3]) @ pose[:3, :3] * scale
    ones = torch.full((1, *view.depth.shape), 4.0)
    return ViewPrediction(torch.from_numpy(local).float()[None], ones, _fourier(points), ones.clone())


class OraclePredictor(TwoViewPredictor):
    """A predictor that knows its images; every pair has a scale of its own."""

    def __init__(self, views: list[PosedImage], scales: list[float] | None = None) -> None:
        self.views = {view.image.tobytes(): view for view in views}
        self.scales, self.calls = scales or [1.0], 0
        self.subsample, self.border = 4, 0

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def fit(self, rows: int, columns: int) -> ImageFit:
        size = (rows, columns)
        return ImageFit(original=size, resized=size, cropped=size, left=0, top=0)

    def encode(self, image: np.ndarray) -> EncodedView:
        view = self.views[image.tobytes()]
        return EncodedView(view, self.fit(*view.depth.shape))  # type: ignore[arg-type]

    def __call__(self, image_a: np.ndarray, image_b: np.ndarray) -> PairPrediction:
        return self.pair(self.encode(image_a), self.encode(image_b))

    def pair(self, first: EncodedView, second: EncodedView) -> PairPrediction:
        a, b = (cast(PosedImage, encoded.tokens) for encoded in (first, second))
        scale = self.scales[self.calls % len(self.scales)]
        self.calls += 1
        return PairPrediction(
            self.fit(*a.depth.shape),
            self.fit(*b.depth.shape),
            oracle_view(a, a, scale),
            oracle_view(b, a, scale),
            lambda: (oracle_view(b, b, scale), oracle_view(a, b, scale)),
        )
