"""Views of a hilly surface whose depth is found by bisection: cameras and images of known truth."""

import numpy as np
from pair_toys import OraclePredictor, look

from codistill.tasks.two_view.multiview.data import PairSet
from codistill.tasks.two_view.pairs import Pair, PosedImage

SIZE = (84, 112)
K = np.array([[95.0, 0.0, 55.5], [0.0, 95.0, 41.5], [0.0, 0.0, 1.0]])
POSES = (look(0, 0, 0), look(0.5, 0.2, -8), look(-0.6, 0.1, 9), look(0.2, -0.4, 3))


def height(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """z of the surface."""
    return 3.0 + 0.6 * np.sin(1.9 * x) * np.cos(1.6 * y + 0.3)


def hilly_view(pose: np.ndarray, name: str) -> PosedImage:
    """One view; z-depth by bisection along each ray."""
    x, y = np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))
    rays = np.stack(((x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones_like(x)), axis=-1)
    world, center = rays @ pose[:3, :3].T, pose[:3, 3]
    near, far = np.full(SIZE, 1.0), np.full(SIZE, 8.0)
    for _ in range(50):
        middle = (near + far) / 2
        points = center + world * middle[..., None]
        before = points[..., 2] < height(points[..., 0], points[..., 1])
        near, far = np.where(before, middle, near), np.where(before, far, middle)
    points = center + world * near[..., None]
    waves = np.stack(
        [np.sin(7 * points[..., 0]), np.cos(5 * points[..., 1]), np.sin(3 * points.sum(-1))], axis=-1
    )
    return PosedImage((127.5 + 120 * waves).astype(np.uint8), near.astype(np.float32), K.copy(), pose, name)


def hilly_views(count: int = 4) -> list[PosedImage]:
    return [hilly_view(pose, f"v{number}") for number, pose in enumerate(POSES[:count])]


def hilly_pair() -> PairSet:
    return PairSet(Pair(*hilly_views(2), 0.8, "hills"))


def oracle(views: list[PosedImage], scales: list[float] | None = None) -> OraclePredictor:
    """Knows the views perfectly; every pair has a scale of its own."""
    return OraclePredictor(views, scales)
