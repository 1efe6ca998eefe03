"""Baselines that need no head: no motion, the median motion of the training pairs, and classical or learned matchers.

`none` and `median` show the score of chance. Matchers (`sift`, `loftr`) give rotation and direction of translation by
an essential matrix with known intrinsics. They cannot determine the length of the translation, which is the median of
the training pairs or given by the caller.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from codistill.errors import CheckpointError, MissingExtraError
from codistill.geometry.essential import pose_from_matches
from codistill.geometry.estimate import PoseEstimate
from codistill.geometry.robust import RobustConfig
from codistill.geometry.rotations import rotation_from_vector, rotation_vector
from codistill.tasks.shared.data import spread
from codistill.tasks.two_view.pairs import Pair, PairData

_RATIO = 0.8
_LOFTR_EDGE, _LOFTR_FILE = 640, "loftr_outdoor.ckpt"


@dataclass(frozen=True)
class TrainingMotion:
    """Statistics of the training pairs' relative poses.

    Attributes:
        translation: (3,), per-axis median of the second camera's position in the first one's frame, metres.
        rotation_vector: (3,), per-axis median of the second camera's orientation in the first one's frame.
        length: median distance between the two cameras, metres.
        pairs: number of pairs.
    """

    translation: np.ndarray
    rotation_vector: np.ndarray
    length: float
    pairs: int

    def describe(self) -> dict[str, Any]:
        motion = {
            "length": self.length,
            "translation": self.translation.tolist(),
            "rotation_vector": self.rotation_vector.tolist(),
            "pairs": self.pairs,
        }
        return {"training_motion": motion}

    def estimate(self) -> PoseEstimate:
        """The median motion as an estimate: second from first camera."""
        rotation = rotation_from_vector(torch.from_numpy(self.rotation_vector)).numpy().T
        return PoseEstimate(rotation, -rotation @ self.translation, np.zeros(0, dtype=bool), 1.0)


def training_motion(data: PairData, most: int = 500) -> TrainingMotion:
    """Medians over at most `most` training pairs, evenly spread."""
    centers, turns = [], []
    for index in spread(len(data), most):
        first_from_second = np.linalg.inv(data[index].second_from_first)
        centers.append(first_from_second[:3, 3])
        turns.append(rotation_vector(torch.from_numpy(first_from_second[:3, :3])).numpy())
    places = np.stack(centers)
    return TrainingMotion(
        translation=np.median(places, axis=0),
        rotation_vector=np.median(np.stack(turns), axis=0),
        length=float(np.median(np.linalg.norm(places, axis=1))),
        pairs=len(places),
    )


def no_motion(_: Pair) -> PoseEstimate:
    """The identity: the second camera has the first one's pose."""
    return PoseEstimate(np.eye(3), np.zeros(3), np.zeros(0, dtype=bool), 1.0)


Matches = tuple[np.ndarray, np.ndarray]
"""Matched pixels of two images, (match, 2) each."""


def sift_matches(first: np.ndarray, second: np.ndarray) -> Matches:
    """Match SIFT keypoints that are mutual nearest neighbours and pass Lowe's ratio test of 0.8 (Lowe 2004)."""
    sift = cv2.SIFT.create(nfeatures=4096, contrastThreshold=0.01)
    keypoints, descriptors = zip(
        *(sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None) for image in (first, second)),
        strict=True,
    )
    if any(found is None or len(found) < 2 for found in descriptors):
        return np.zeros((0, 2)), np.zeros((0, 2))
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    back = {
        (m[0].trainIdx, m[0].queryIdx) for m in matcher.knnMatch(descriptors[1], descriptors[0], k=1) if m
    }
    kept = [
        best
        for best, other in matcher.knnMatch(descriptors[0], descriptors[1], k=2)
        if best.distance < _RATIO * other.distance and (best.queryIdx, best.trainIdx) in back
    ]
    places = [np.array([k.pt for k in points]).reshape(-1, 2) for points in keypoints]
    rows = np.array([(m.queryIdx, m.trainIdx) for m in kept], dtype=int).reshape(-1, 2)
    return places[0][rows[:, 0]], places[1][rows[:, 1]]


class LoftrMatcher:
    """LoFTR (Sun et al., CVPR 2021; outdoor weights) through kornia, on images of at most 640 pixels.

    kornia downloads the weights on first use.

    Raises:
        MissingExtraError: without kornia.
        CheckpointError: if the weights are neither stored nor downloadable.
    """

    def __init__(self) -> None:
        self.network, self.device = _loftr(), torch.device("cpu")

    def to(self, device: torch.device | str) -> None:
        self.network.to(device)
        self.device = torch.device(device)

    @torch.inference_mode()
    def __call__(self, first: np.ndarray, second: np.ndarray) -> Matches:
        """Matches of two uint8 images."""
        tensors, scales = [], []
        for image in (first, second):
            rows, columns = image.shape[:2]
            factor = min(1.0, _LOFTR_EDGE / max(rows, columns))
            size = tuple(max(8, int(side * factor) // 8 * 8) for side in (columns, rows))
            grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
            tensors.append(torch.from_numpy(grey)[None, None].float().to(self.device) / 255)
            scales.append(np.array([columns / size[0], rows / size[1]]))
        found = self.network({"image0": tensors[0], "image1": tensors[1]})
        pixels = (found[name].cpu().numpy() for name in ("keypoints0", "keypoints1"))
        first_pixels, second_pixels = (
            (xy + 0.5) * scale - 0.5 for xy, scale in zip(pixels, scales, strict=True)
        )
        return first_pixels, second_pixels


def _loftr() -> torch.nn.Module:
    """The network with its weights, in evaluation mode."""
    try:
        from kornia.feature import LoFTR  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError("kornia", "matching", "--baseline loftr") from error
    try:
        return LoFTR(pretrained="outdoor").eval()
    except (OSError, RuntimeError) as error:
        place = Path(torch.hub.get_dir()) / "checkpoints" / _LOFTR_FILE
        raise CheckpointError(
            f"the weights of LoFTR cannot be loaded ({error}). Without a network, copy {_LOFTR_FILE} (on the Hugging "
            f"Face hub: kornia/loftr) to {place}; if it exists already, it is damaged: delete it."
        ) from error


def matched_pose(
    pair: Pair, matches: Matches, length: float, robust: RobustConfig | None = None
) -> PoseEstimate | None:
    """Pose of the second camera from the first, from matches, with a translation of given length; None if it fails."""
    robust = robust or RobustConfig()
    found = pose_from_matches(
        *matches,
        pair.first.intrinsics,
        pair.second.intrinsics,
        threshold=1.0,
        **robust.draws,
    )
    if found is None or not found.is_usable():
        return None
    return replace(found, translation=found.translation * length)


BASELINES = {
    "none": "no motion",
    "median": "the median motion of the training pairs",
    "sift": "matches of SIFT, an essential matrix, the median distance of the training pairs",
    "loftr": "the same with LoFTR's matches",
}
"""One line on each baseline, by name."""
