"""Tiny encoders and fitted heads of every kind that is exported, as folders."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from codistill.bodies.base import BodyModel
from codistill.bodies.tiny import TinyBody
from codistill.encoders.load import load_encoder
from codistill.files.plain import to_plain
from codistill.heads.human_mesh.network import HumanMeshHead
from codistill.heads.linear.depth import DepthHead, DepthHeadConfig
from codistill.heads.linear.normals import NormalsHead, NormalsHeadConfig
from codistill.heads.linear.released import released_tensors
from codistill.heads.linear.segmentation import SegmentationHead, SegmentationHeadConfig
from codistill.heads.two_view.network import TwoViewConfig, TwoViewHead
from codistill.tasks.classification.bank import ImageVectors
from codistill.tasks.classification.config import Votes
from codistill.tasks.classification.fit import LABELS, bank_file
from codistill.tasks.dense.depth.data import PROTOCOLS as DEPTH_PROTOCOLS
from codistill.tasks.dense.protocol import CropProtocol
from codistill.tasks.dense.segmentation.data import SegmentationProtocol
from codistill.tasks.people.config import PeopleProtocol
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.tasks.shared.head_files import HeadData, HeadRecord, write_head
from codistill.tasks.shared.same_encoder import told_of
from codistill.tasks.two_view.head import write_two_view_head

ENCODER = "random:vit_tiny,dim=24,depth=2,num_heads=2,image_size=56,num_registers=1"
CLASSES = ("floor", "wall", "cup")


def dense_head(folder: Path, task: str) -> Path:
    """A head with random weights, on two blocks for segmentation."""
    torch.manual_seed(0)
    blocks = (0, -1) if task == "segmentation" else (-1,)
    features = FrozenFeatures(FeatureConfig(encoder=ENCODER, blocks=blocks))
    channels = features.width(with_cls=task == "depth")
    if task == "depth":
        head, test = DepthHead(DepthHeadConfig(channels=channels, bins=8)), asdict(DEPTH_PROTOCOLS["folder"])
    elif task == "segmentation":
        head = SegmentationHead(SegmentationHeadConfig(channels=channels, num_classes=3))
        size = (56, 56)
        test = asdict(SegmentationProtocol(scale=size, crop=size, stride=size, mode="whole"))
    else:
        head = NormalsHead(NormalsHeadConfig(channels=channels))
        test = asdict(CropProtocol(crop=(56, 56)))
    torch.nn.init.normal_(list(head.children())[-1].weight)
    record = HeadRecord(
        task=task,
        features=features.config,
        data=HeadData(spec="folder:nowhere", samples=1, classes=CLASSES if task == "segmentation" else ()),
        encoder=told_of(features),
        test=test,
        head=asdict(head.config),
    )
    write_head(folder, record, released_tensors(head), [])
    return folder


def classifier_head(folder: Path, task: str) -> Path:
    """A linear classifier of class tokens and mean patches, or the votes of 12 random vectors."""
    generator = torch.Generator().manual_seed(0)
    features = FrozenFeatures(FeatureConfig(encoder=ENCODER))
    vectors = ImageVectors(kind="cls+mean" if task == "linear" else "cls", resize=64, crop=56)
    channels = vectors.channels(1, features)
    tensors = {LABELS: torch.arange(12) % 3}
    if task == "linear":
        tensors["weight"] = torch.randn(3, channels, generator=generator)
        tensors["bias"] = torch.randn(3, generator=generator)
    votes = Votes(neighbours=(1, 5), temperature=0.5) if task == "knn" else None
    record = HeadRecord(
        task=task,
        features=features.config,
        data=HeadData(spec="folder:nowhere", samples=12, classes=CLASSES),
        encoder=told_of(features),
        test=to_plain(vectors),
        head={} if votes is None else to_plain(votes),
    )
    write_head(folder, record, tensors, [])
    if votes is not None:
        bank_file(folder).parent.mkdir()
        np.save(bank_file(folder), torch.randn(12, channels, generator=generator).numpy())
    return folder


def two_view_head(folder: Path) -> Path:
    torch.manual_seed(0)
    config = TwoViewConfig(
        encoder_dim=24,
        patch_size=14,
        dim=16,
        depth=4,
        num_heads=2,
        level_dims=(8, 8, 8, 8),
        fusion_dim=8,
        middle_dim=8,
        last_dim=8,
        descriptor_dim=4,
    )
    write_two_view_head(
        folder,
        TwoViewHead(config),
        encoder=load_encoder(ENCODER),
        name=ENCODER,
        size=(56, 56),
        data=HeadData(spec="world:nowhere", samples=1),
        fit={},
        command=[],
    )
    return folder


def people_head(folder: Path, body: BodyModel | None = None) -> Path:
    """A head (for the tiny body) whose scores lie on both sides of the threshold."""
    torch.manual_seed(0)
    body = TinyBody() if body is None else body
    features = FrozenFeatures(FeatureConfig(encoder=ENCODER, norm=False))
    sizes = {
        "table_size": 4,
        "dim": 16,
        "depth": 1,
        "num_heads": 2,
        "head_dim": 8,
        "hidden": 16,
        "num_bands": 2,
    }
    head = HumanMeshHead.for_body(body, encoder_dim=24, patch_size=14, max_resolution=16.0, **sizes)
    torch.nn.init.normal_(head.classify[2].weight)
    for last in (head.pose, head.shape, head.camera):
        torch.nn.init.normal_(last.weight, std=0.3)
    seen = PeopleProtocol(size=56, body=body.name, n_shape=body.n_shape, body_licence=body.licence)
    record = HeadRecord(
        task="people",
        features=features.config,
        data=HeadData(spec="world:nowhere", samples=1),
        encoder=told_of(features),
        test=to_plain(seen),
        head=asdict(head.config),
    )
    write_head(folder, record, head.state_dict(), [])
    return folder
