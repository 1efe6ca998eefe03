"""Export of a human-mesh head, with its encoder or alone: images and intrinsics in, a fixed number of people out.

In an exported graph the number of people cannot depend on the image. Every image has the requested number of rows, and
`present` says which of them are people. Their values equal those of the head without padding.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from codistill.bodies.base import BodyModel
from codistill.deploy.config import PEOPLE, ExportConfig, refuse
from codistill.deploy.exportable import Sizes, about_encoder
from codistill.deploy.levels import Levels, OnLevels
from codistill.errors import ConfigError
from codistill.geometry.cameras import camera_matrix
from codistill.heads.human_mesh.camera import reference_focal
from codistill.heads.human_mesh.place import place_people
from codistill.programs.record import Port
from codistill.tasks.people.load import load_people
from codistill.tasks.task import Subject

NOT_IN_ONNX = ("anny",)
"""Body models that need operators which ONNX lacks."""


class ExportedPeople(OnLevels):
    """Map images (or tokens) and `intrinsics` to `present`, `score`, `location`, `head`, `rotmat`, `shape` and more.

    Args:
        path: a folder of a fitted head, or a released Multi-HMR file.
        config: options of the export.
    """

    body: BodyModel | None

    def __init__(self, path: Path, config: ExportConfig) -> None:
        super().__init__()
        refuse(config, "a head for people", "blocks", "norm", "feature_map", "projector", "denormalize")
        estimator = load_people(Subject(head=path) if path.is_dir() else Subject(model=path))
        if config.bodies and config.format == "onnx" and estimator.body_name in NOT_IN_ONNX:
            raise ConfigError(
                f"--bodies: {estimator.body_name}'s bodies are not exported as ONNX: its rest pose is fitted to the "
                "shape by decompositions and linear systems, for which ONNX has no operators. Leave --bodies out "
                "(`rotmat` and `shape` are all that the body model needs), or choose --format torch-export or aoti, "
                "with --batch N"
            )
        if config.size is None:
            config = replace(config, size=(estimator.size, estimator.size))
        self.fixed_size = config.size
        self.threshold, self.kernel = estimator.search.threshold, estimator.search.kernel
        self.slots = config.people or PEOPLE
        self.network, self.takes = estimator.head, config.takes
        self.body = estimator.body if config.bodies else None
        self.levels = Levels(estimator.features, config, with_cls=False)
        spec = self.network.config
        self.about = about_encoder(estimator.features.encoder, "people", str(path))
        batch = "batch" if config.batch is None else config.batch
        pixels = "in pixels of these images, pixel centres at integers"
        self.inputs = (*self.levels.ports, Port(name="intrinsics", axes=(batch, 3, 3), meaning=pixels))
        rows: list[tuple[str, tuple[int, ...], str, str]] = [
            ("present", (), "whether this row is a person", "bool"),
            ("score", (), "of the detection", "float32"),
            ("location", (2,), "x and y of the head in pixels, pixel centres at integers", "float32"),
            ("head", (3,), "the head joint in the camera's frame, metres", "float32"),
            ("rotmat", (spec.n_rot, 3, 3), f"rotations of {estimator.body_name}", "float32"),
            ("shape", (spec.n_shape,), f"shape of {estimator.body_name}", "float32"),
        ]
        if spec.n_expression:
            rows.append(("expression", (spec.n_expression,), f"of {estimator.body_name}", "float32"))
        if self.body is not None:
            frame = "in the camera's frame, metres"
            rows += [("vertices", (self.body.n_verts, 3), frame, "float32")]
            rows += [("joints", (self.body.n_joints, 3), frame, "float32")]
        self.outputs = tuple(
            Port(name=name, axes=(batch, self.slots, *axes), meaning=meaning, dtype=dtype)
            for name, axes, meaning, dtype in rows
        )

    def example(self, sizes: Sizes, images: Tensor) -> dict[str, Tensor]:
        rows, columns = images.shape[1:3]
        centre = ((columns - 1) / 2, (rows - 1) / 2)
        intrinsics = camera_matrix(reference_focal((rows, columns)), centre)
        return {
            **self.levels.example(sizes, images),
            "intrinsics": intrinsics.expand(images.shape[0], 3, 3).contiguous(),
        }

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        *image, intrinsics = given
        levels, _ = self.levels(*image)
        tokens = replace(levels[-1], normed=not self.network.config.fresh_norm)
        search = {"threshold": self.threshold, "kernel": self.kernel, "slots": self.slots}
        people = self.network(tokens, intrinsics, **search).people
        present = people.cells.present
        assert present is not None
        parts = [present, people.score, people.location, people.head, people.rotmat, people.shape]
        parts += [people.expression] if self.network.config.n_expression else []
        if self.body is not None:
            placed = place_people(self.body, people)
            parts += [placed.vertices, placed.joints]

        def zeroed(part: Tensor) -> Tensor:
            shown = (
                part
                if part.dtype == torch.bool
                else torch.where(present.view(-1, *[1] * (part.ndim - 1)), part, 0.0)
            )
            return shown.unflatten(0, (-1, self.slots))

        return tuple(zeroed(part) for part in parts)
