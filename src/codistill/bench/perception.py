"""Compare the cost of one encoder shared by all heads with that of a separate encoder for each head.

In: networks of the published sizes with random weights, or a perception of the user. Out: operations, processor time
and number of weights of each part, and of each configuration that answers on two images: class scores, bodies of up to
four people, and points of the pair. Source of the sizes: DUNE (arXiv 2503.14405), DINOv2, MASt3R and Multi-HMR's
released files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import nn

from codistill.bench.timing import Timed
from codistill.encoders.preprocess import ImageLike
from codistill.encoders.vit import ViTEncoder
from codistill.heads.human_mesh.cells import PersonCells
from codistill.heads.human_mesh.network import HumanMeshConfig, HumanMeshHead
from codistill.heads.linear.segmentation import SegmentationHead, SegmentationHeadConfig
from codistill.heads.two_view.network import TwoViewHead, TwoViewShape
from codistill.nn.products import count_flops
from codistill.nn.vit import vit_config
from codistill.perception.perception import Perception
from codistill.student.projectors import ProjectorConfig, StudentShape, find_projector
from codistill.types import Tokens

IMAGES = 2
"""Images of a scene: a pair, so that a two-view head answers once."""

PEOPLE = 4
"""People in both images together."""

SMALL = 112
"""Pixels of the images of the first calls, which are not measured."""

CLASSES = 150
"""Number of ADE20K's classes."""

STUDENT = "student ViT-B/14"


@dataclass(frozen=True)
class Part:
    """A network that is part of a configuration, and how it is called.

    Attributes:
        build: builds the network on the default device.
        call: function from network, device and image size to its result.
        times: number of calls for a scene of two images.
    """

    build: Callable[[], nn.Module]
    call: Callable[[nn.Module, torch.device, int], object]
    times: int = IMAGES


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost of a part or a configuration for one scene of two images.

    Attributes:
        flops: number of operations.
        parameters: number of weights.
        cpu_seconds: processor time of all threads; None if it was not measured.
    """

    flops: int
    parameters: int
    cpu_seconds: float | None

    def __add__(self, other: "Cost") -> "Cost":
        times = (self.cpu_seconds, other.cpu_seconds)
        return Cost(
            flops=self.flops + other.flops,
            parameters=self.parameters + other.parameters,
            cpu_seconds=None if None in times else sum(t for t in times if t is not None),
        )


def _encoder(size: str, patch: int, **more: object) -> Part:
    """A vision transformer, called for each image."""

    def call(encoder: nn.Module, device: torch.device, pixels: int) -> Tokens:
        side = pixels // patch * patch
        return encoder(torch.randn(1, 3, side, side, device=device), norm=False)

    return Part(lambda: ViTEncoder(vit_config(size, patch_size=patch, **more)), call)


def _tokens(dim: int, patch: int, device: torch.device, pixels: int, *, normed: bool, images: int) -> Tokens:
    side = pixels // patch
    patches = torch.randn(images, side * side, dim, device=device)
    return Tokens(patches, (side, side), torch.randn(images, dim, device=device), normed=normed)


def _projector(dim: int, teacher: int) -> Part:
    """A teacher's transformer projector, called for each image."""
    shape = StudentShape(dim=dim, depth=12, num_heads=dim // 64)

    def build() -> nn.Module:
        return find_projector("transformer").build(ProjectorConfig(), shape, teacher, ("cls", "patch"))

    return Part(
        build,
        lambda network, device, pixels: network([_tokens(dim, 14, device, pixels, normed=False, images=1)]),
    )


def _classes(dim: int) -> Part:
    return Part(
        lambda: SegmentationHead(SegmentationHeadConfig(channels=dim, num_classes=CLASSES)),
        lambda network, device, pixels: network(
            _tokens(dim, 14, device, pixels, normed=True, images=1).feature_map()
        ),
    )


def _points(dim: int, patch: int, *, fresh_norm: bool) -> Part:
    """MASt3R's decoder and heads, called once for the pair, in one order of its images."""

    def call(head: nn.Module, device: torch.device, pixels: int) -> object:
        views = [_tokens(dim, patch, device, pixels, normed=not fresh_norm, images=1) for _ in range(IMAGES)]
        return head(*views)

    return Part(lambda: TwoViewHead(TwoViewShape(fresh_norm=fresh_norm).on(dim, patch)), call, times=1)


def _bodies(dim: int) -> Part:
    """Multi-HMR's head with four people at given cells, which stand for detected ones."""
    config = HumanMeshConfig(  # SMPL-X's sizes
        encoder_dim=dim, patch_size=14, fresh_norm=False, swapped_rays=True, n_rot=53, n_shape=11
    )

    def call(head: nn.Module, device: torch.device, pixels: int) -> object:
        tokens = _tokens(dim, 14, device, pixels, normed=True, images=IMAGES)
        number = torch.arange(PEOPLE, device=device)
        place = number + 2
        camera = torch.eye(3, device=device).expand(IMAGES, 3, 3).clone()
        camera[:, :2, :2] *= pixels
        cells = PersonCells(number % IMAGES, place, place, number // IMAGES, PEOPLE // IMAGES)
        return head(tokens, camera, cells)

    return Part(lambda: HumanMeshHead(config), call, times=1)


PARTS: dict[str, Part] = {
    STUDENT: _encoder("vit_base", 14, image_size=448, num_registers=4),
    "projector of DINOv2": _projector(768, 1024),
    "projector of Multi-HMR": _projector(768, 1024),
    "DINOv2 ViT-L/14": _encoder("vit_large", 14, image_size=518, num_registers=4),
    "Multi-HMR ViT-L/14": _encoder("vit_large", 14, image_size=448),
    "MASt3R ViT-L/16": _encoder(
        "vit_large", 16, position="rope", has_cls=False, image_size=512, layer_scale=None
    ),
    "linear classes": _classes(1024),
    "Multi-HMR head": _bodies(1024),
    "DUNE-MASt3R decoder": _points(768, 14, fresh_norm=True),
    "MASt3R decoder": _points(1024, 16, fresh_norm=False),
}
"""Networks of the published sizes."""

HEADS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "classes": (("projector of DINOv2", "linear classes"), ("DINOv2 ViT-L/14", "linear classes")),
    "bodies": (("projector of Multi-HMR", "Multi-HMR head"), ("Multi-HMR ViT-L/14", "Multi-HMR head")),
    "points": (("DUNE-MASt3R decoder",), ("MASt3R ViT-L/16", "MASt3R decoder")),
}
"""By answer: the parts that follow a student's encoder, and the parts of the teacher that gives the same answer."""


def published_costs(
    size: int, *, rounds: int, device: torch.device, progress: Callable[[str], None] = lambda name: None
) -> dict[str, Cost]:
    """Compute the cost of every part, with only one in memory at a time.

    Args:
        size: side of the square images in pixels; 448 in the publications.
        rounds: number of measurements, of which the shortest counts; 0: only operations and weights, without allocating
            memory.
        device: device to measure on.
        progress: called with the name of the next part.
    """
    costs = {}
    for name, part in PARTS.items():
        progress(name)
        costs[name] = part_cost(part, size, rounds=rounds, device=device)
    return costs


@torch.inference_mode()
def part_cost(part: Part, size: int, *, rounds: int, device: torch.device) -> Cost:
    """Compute the cost of one part; operations are counted on the meta device."""
    meta = torch.device("meta")
    with meta:
        network = part.build().eval()
    flops = part.times * count_flops(lambda: part.call(network, meta, size))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    seconds = None
    if rounds:
        real = part.build().eval().to(device)
        part.call(real, device, SMALL)  # the first call loads kernels
        timed = Timed(lambda: part.call(real, device, size), device)
        for _ in range(rounds):
            timed.measure()
        seconds = part.times * (timed.best.cpu if device.type == "cpu" else timed.best.wall)
    return Cost(flops=flops, parameters=parameters, cpu_seconds=seconds)


def way_costs(costs: Mapping[str, Cost], answers: Sequence[str] = tuple(HEADS)) -> dict[str, Cost]:
    """Cost of each configuration that gives some answers, as the sum of its parts.

    Args:
        costs: costs of the parts.
        answers: keys of `HEADS`.
    """
    behind = [name for answer in answers for name in HEADS[answer][0]]
    ways = {
        "one student for all heads": [STUDENT, *behind],
        "a student for each head": [*[STUDENT] * len(answers), *behind],
        "a teacher for each": [name for answer in answers for name in HEADS[answer][1]],
    }
    return {way: reduce(add, (costs[name] for name in parts)) for way, parts in ways.items()}


@dataclass(frozen=True, kw_only=True)
class SharedSpeed:
    """Processor seconds per image of the same answers, with a shared encoder and with separate passes.

    Attributes:
        together: one pass of the encoder for all heads.
        apart: the sum over heads, each with its own pass of the encoder.
        alone: the seconds of each head with its own pass.
    """

    together: float
    apart: float
    alone: dict[str, float]


def bench_perception(perception: Perception, images: Sequence[ImageLike], *, rounds: int) -> SharedSpeed:
    """Measure a perception on images, in turns with each of its heads alone with its own pass of the encoder.

    Args:
        perception: the perception, on its device.
        images: images for it.
        rounds: number of measurements, of which the shortest counts.
    """
    names = [name for name in perception.heads if len(images) > 1 or not perception.together(name)]

    def run(*wanted: str) -> None:
        perception(images, want=wanted)

    ways = {name: Timed(lambda name=name: run(name), perception.device) for name in names}
    whole = Timed(lambda: run(*names), perception.device)
    for timed in (*ways.values(), whole):
        timed.call()
    for _ in range(rounds):
        for timed in (*ways.values(), whole):
            timed.measure()
    clock = "cpu" if perception.device.type == "cpu" else "wall"
    alone = {name: getattr(timed.best, clock) for name, timed in ways.items()}
    return SharedSpeed(together=getattr(whole.best, clock), apart=sum(alone.values()), alone=alone)
