"""Heads with random weights in the folders that `codistill fit` writes, on a tiny encoder."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from codistill.files.plain import to_plain
from codistill.heads.linear.depth import DepthHead, DepthHeadConfig
from codistill.heads.linear.normals import NormalsHead, NormalsHeadConfig
from codistill.heads.linear.released import released_tensors
from codistill.heads.linear.segmentation import SegmentationHead, SegmentationHeadConfig
from codistill.tasks.dense.depth.data import PROTOCOLS as DEPTHS
from codistill.tasks.dense.protocol import CropProtocol
from codistill.tasks.dense.segmentation.data import PROTOCOLS
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.tasks.shared.head_files import HeadData, HeadRecord, write_head
from codistill.tasks.shared.same_encoder import told_of

ENCODER = "random:vit_tiny,depth=2,dim=48,num_heads=2,image_size=56"
SIZE = 56
CLASSES = ("floor", "wall", "chair")


def photo(seed: int = 0, size: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    """(row, column, 3) uint8: blobs."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (-(-size[0] // 14), -(-size[1] // 14), 3))
    return np.kron(coarse, np.ones((14, 14, 1))).astype(np.uint8)[: size[0], : size[1]]


def dense_head(folder: Path, task: str, features: FeatureConfig, seed: int = 0) -> Path:
    """A folder with a head for segmentation, depth or normals."""
    frozen = FrozenFeatures(features)
    torch.manual_seed(seed)
    if task == "segmentation":
        protocol = to_plain(PROTOCOLS["world"].at_size(SIZE))
        head: nn.Module = SegmentationHead(
            SegmentationHeadConfig(channels=frozen.width(), num_classes=len(CLASSES))
        )
        nn.init.normal_(head.conv_seg.weight)  # type: ignore[union-attr, arg-type]
    elif task == "depth":
        protocol = to_plain(DEPTHS["world"].at_size(SIZE))
        head = DepthHead(DepthHeadConfig(channels=frozen.width(with_cls=True), bins=16))
        nn.init.normal_(head.conv_depth.weight)  # type: ignore[union-attr, arg-type]
    else:
        protocol = to_plain(CropProtocol(crop=(SIZE, SIZE), resized=(SIZE, SIZE)))
        head = NormalsHead(NormalsHeadConfig(channels=frozen.width()))
        nn.init.normal_(head.conv_normals.weight)  # type: ignore[union-attr, arg-type]
    record = HeadRecord(
        task=task,
        features=features,
        data=HeadData(spec="world:toy", samples=8, classes=CLASSES if task == "segmentation" else ()),
        test=protocol,
        head=asdict(head.config),  # type: ignore[arg-type]
        encoder=told_of(frozen),
    )
    write_head(folder, record, released_tensors(head), ["toy"])  # type: ignore[arg-type]
    return folder


def dense_heads(root: Path, tasks: Sequence[str] = ("segmentation", "depth", "normals")) -> dict[str, Path]:
    """Folders by task; each reads another state of the tokens."""
    states = {
        "segmentation": FeatureConfig(encoder=ENCODER, norm=False),
        "depth": FeatureConfig(encoder=ENCODER, blocks=(0, 1)),
        "normals": FeatureConfig(encoder=ENCODER),
    }
    return {task: dense_head(root / task, task, states[task]) for task in tasks}
