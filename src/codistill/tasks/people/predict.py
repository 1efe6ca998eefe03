"""Images and cameras to bodies with a fitted or released head, back in the image's own pixels."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file
from torch import Tensor

from codistill.bodies.base import BodyModel
from codistill.bodies.load import load_body
from codistill.errors import CheckpointError, ConfigError
from codistill.files.plain import from_plain
from codistill.geometry.projection import project
from codistill.heads.human_mesh.cells import DETECTION_THRESHOLD
from codistill.heads.human_mesh.load import read_human_mesh
from codistill.heads.human_mesh.losses import in_front
from codistill.heads.human_mesh.network import HumanMeshConfig, HumanMeshHead
from codistill.heads.human_mesh.place import place_people
from codistill.heads.human_mesh.prediction import PeoplePrediction
from codistill.imaging.normalize import normalized
from codistill.nn.precision import autocast
from codistill.tasks.people.baseline import MeanBody
from codistill.tasks.people.tokens import head_tokens
from codistill.tasks.people.views import Placement, square_pixels
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.tasks.shared.head_files import TENSORS, read_record
from codistill.tasks.shared.same_encoder import check_features, say_unknown
from codistill.weights.read import read_checkpoint


@dataclass(frozen=True)
class Bodies:
    """The people of one image, the nearest first, on the host; camera coordinates, metres.

    Attributes:
        score: of the detection, (person,).
        vertices, joints: (person, …, 3).
        joints_2d: (person, joint, 2) pixels (x, y) of the image; joints behind the camera are projected from just
            before it.
        rotmat, shape, expression: parameters of the body model.
        head, pelvis: those joints.
    """

    score: Float[Tensor, " person"]
    vertices: Float[Tensor, "person vertex 3"]
    joints: Float[Tensor, "person joint 3"]
    joints_2d: Float[Tensor, "person joint 2"]
    rotmat: Float[Tensor, "person rotation 3 3"]
    shape: Float[Tensor, "person shape"]
    expression: Float[Tensor, "person expression"]
    head: Float[Tensor, "person 3"]
    pelvis: Float[Tensor, "person 3"]

    def __len__(self) -> int:
        return len(self.score)

    def within(self, rows: int, columns: int, intrinsics: Float[Tensor, "3 3"]) -> "Bodies":
        """Those of whom some vertex lies within an image of that many pixels.

        Heads are looked for in a square around the image, so some people may lie wholly outside.
        """
        x, y = project(in_front(self.vertices), intrinsics.expand(len(self), 3, 3)).unbind(-1)
        inside = (
            (self.vertices[..., 2] > 0) & (x > -0.5) & (x < columns - 0.5) & (y > -0.5) & (y < rows - 0.5)
        )
        kept = inside.any(1)
        return Bodies(**{f.name: getattr(self, f.name)[kept] for f in fields(self)})


@dataclass(frozen=True, kw_only=True)
class PeopleTest:
    """How people are looked for.

    Attributes:
        threshold: least score of a detection.
        kernel: cells around a detection in which it must be the highest; 1: no suppression.
        size: side of the square that the encoder sees; None: as the head was fitted.
    """

    threshold: float = DETECTION_THRESHOLD
    kernel: int = 3
    size: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.threshold <= 1.0:
            raise ConfigError(f"the threshold must lie between 0 and 1; got {self.threshold}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ConfigError(f"the kernel must be an odd number of cells, 1 for none; got {self.kernel}")
        if self.size is not None and self.size < 1:
            raise ConfigError(f"size must be 1 or more; got {self.size}")


@dataclass
class PeopleEstimator:
    """An encoder with a human-mesh head and its body model.

    Attributes:
        features, head, body: on one device, in evaluation mode.
        size: side of the square that the encoder sees.
        test: see `PeopleTest`.
        mean: put this body in place of everybody's own: a baseline.
    """

    features: FrozenFeatures
    head: HumanMeshHead
    body: BodyModel
    size: int
    test: PeopleTest
    mean: MeanBody | None = None

    def to(self, device: torch.device | str) -> "PeopleEstimator":
        """Move it."""
        for part in (self.features, self.head, self.body):
            part.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.head.parameters()).device

    @torch.inference_mode()
    def __call__(self, image: UInt8[np.ndarray, "row column 3"], intrinsics: Float[Tensor, "3 3"]) -> Bodies:
        """The people of an image of any size; nobody is fine.

        Args:
            image: as it is.
            intrinsics: of the image, pixels.
        """
        placement = Placement.of(image.shape[0], image.shape[1], self.size)
        seen = normalized(torch.from_numpy(square_pixels(image, placement))[None].to(self.device))
        camera = placement.intrinsics(intrinsics.float())[None].to(self.device)
        with autocast(self.device):
            tokens = head_tokens(self.features, seen)
            output = self.head(tokens, camera, threshold=self.test.threshold, kernel=self.test.kernel)
        people = output.people
        if self.mean is not None:
            people = self.mean.in_place_of(people)
        return _bodies(self.body, people, intrinsics.float())


def _bodies(body: BodyModel, people: PeoplePrediction, intrinsics: Tensor) -> Bodies:
    placed = place_people(body, people)
    order = placed.head[:, 2].argsort(stable=True)
    values = (
        people.score,
        placed.vertices,
        placed.joints,
        people.rotmat,
        people.shape,
        people.expression,
        placed.head,
        placed.pelvis,
    )
    score, vertices, joints, rotmat, shape, expression, head, pelvis = (v[order].cpu() for v in values)
    joints_2d = project(in_front(joints), intrinsics.expand(len(joints), 3, 3))
    return Bodies(score, vertices, joints, joints_2d, rotmat, shape, expression, head, pelvis)


def load_people(
    head: str | Path,
    *,
    features: FeatureConfig | None = None,
    test: PeopleTest | None = None,
    body: BodyModel | None = None,
    other_encoder: bool = False,
) -> PeopleEstimator:
    """A fitted or released head with its encoder and body model.

    Args:
        head: a folder that `codistill fit people` wrote, or a released Multi-HMR file (whose body model, SMPL-X,
            comes from your own licensed file).
        features: another encoder than the head was fitted on, of the same width and patch size.
        test: see the class.
        body: the body model, if it is loaded already.
        other_encoder: it may be another one than the head was fitted on; see `shared/same_encoder.py`.

    Raises:
        CheckpointError: if it cannot be read.
        ConfigError: if encoder, head and body model do not fit.
        DataError: if SMPL-X's file is missing.
    """
    path, test = Path(head).expanduser(), test or PeopleTest()
    if path.is_file():
        return _released(path, features, test, body)
    record = read_record(path, "people")
    config: HumanMeshConfig = from_plain(HumanMeshConfig, record.head, f"{path}: head")
    network = HumanMeshHead(config)
    try:
        network.load_state_dict(load_file(path / TENSORS))
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{path / TENSORS}: does not hold the head of head.json ({error})") from error
    named = str(record.data["body"])
    if body is None or _other_width(body, named, config):
        options = {"n_shape": config.n_shape} if named == "smplx" else {}
        body = load_body(named, **options)
    found = _assembled(path, network, features or record.features, body, test, int(record.test["size"]))
    check_features(path, record, found.features, other_encoder)
    return found


def _released(
    path: Path, features: FeatureConfig | None, test: PeopleTest, body: BodyModel | None
) -> PeopleEstimator:
    network = read_human_mesh(path, read_checkpoint(path)).build()
    config = network.config
    if body is None or _other_width(body, "smplx", config):
        body = load_body("smplx", n_shape=config.n_shape, n_expression=config.n_expression)
    size = config.table_size * config.patch_size
    if features is None:
        features = FeatureConfig(encoder=str(path), norm=not config.fresh_norm)
    else:
        say_unknown(path, features.encoder)
    return _assembled(path, network, features, body, test, size)


def _other_width(body: BodyModel, name: str, config: HumanMeshConfig) -> bool:
    """Whether the labels' SMPL-X has more or fewer shape numbers than the head gives: the head then gets its own."""
    return name == body.name == "smplx" and body.n_shape != config.n_shape


def _assembled(
    path: Path,
    network: HumanMeshHead,
    config: FeatureConfig,
    body: BodyModel,
    test: PeopleTest,
    size: int,
) -> PeopleEstimator:
    if config.projector is None:
        config = replace(config, norm=not network.config.fresh_norm)
    features, shape = FrozenFeatures(config), network.config
    if (features.channels, features.patch_size) != (shape.encoder_dim, shape.patch_size):
        raise ConfigError(
            f"{path} takes tokens of {shape.encoder_dim} channels and patch size {shape.patch_size}; {config.encoder} "
            f"gives {features.channels} channels at patch size {features.patch_size}. Use the encoder that the head "
            "was fitted on."
        )
    if (body.n_rot, body.n_shape) != (shape.n_rot, shape.n_shape):
        raise ConfigError(
            f"{path} gives {shape.n_rot} rotations and {shape.n_shape} shape numbers; the body model {body.name} takes "
            f"{body.n_rot} and {body.n_shape}"
        )
    size = test.size or size
    size = max(1, round(size / shape.patch_size)) * shape.patch_size
    return PeopleEstimator(features, network.eval(), body.eval(), size, test)
