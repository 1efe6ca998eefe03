"""Anny (arXiv 2511.03589) as a `BodyModel`: free (code Apache-2.0, data CC0), for people of all ages, six phenotypes.

Rotations are Anny's `local-ref` parameters: relative to the reference pose, in the parent's frame. Toes and eyes keep
their rest pose. The shape is the logit of the phenotypes, so that any real number is valid.
"""

import copy
import logging
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from codistill.bodies.base import BodyModel, upright_init
from codistill.errors import MissingExtraError

PHENOTYPES = ("gender", "age", "muscle", "weight", "height", "proportions")
"""Phenotypes in [0, 1]: male to female, newborn to old, weak to strong, thin to fat, short to tall, squat to ideal."""

SHAPE_LIMIT = 4.0
"""Limit of the logits, which gives phenotypes from 0.018 to 0.982."""

_PER_VERTEX = (
    "template_vertices",
    "vertex_bone_weights",
    "vertex_bone_indices",
    "base_mesh_vertex_indices",
    "dense_vertex_bone_weights",
)
"""Names of Anny's buffers that have one row per vertex."""

_LOG = logging.getLogger(__name__)


def anny_cache() -> Path:
    """Folder of the model that Anny builds at its first use; `ANNY_CACHE_DIR` overrides it."""
    return Path(os.environ.get("ANNY_CACHE_DIR") or Path.home() / ".cache" / "anny")


def anny_is_built() -> bool:
    """Whether Anny's first, slow construction is done."""
    return anny_cache().is_dir() and any(anny_cache().iterdir())


@lru_cache(maxsize=1)
def _construct() -> Any:
    try:
        import anny
    except ImportError as error:
        raise MissingExtraError("anny", "world", "The Anny body model") from error
    if not anny_is_built():
        _LOG.warning(
            "Building the Anny body model for the first time: one to four minutes, then kept in %s.",
            anny_cache(),
        )
    return anny.Anny(
        rig="anny",
        topology="anny",
        phenotypes="default",
        pose_parameterization="local-ref",
        skinning_method="lbs",
    ).to(dtype=torch.float32)


@lru_cache
def _ready_for_gradients(device: torch.device) -> None:
    """Create roma's constants on a device outside inference mode; inference tensors would break later training."""
    import roma

    with torch.inference_mode(False):
        roma.special_procrustes(torch.eye(3, device=device)[None])


class AnnyBody(BodyModel):
    """Anny with 74 free rotations and 6 shape parameters.

    Attributes:
        free: (n_rot,) indices of the joints whose rotations are free.
        parents: parent of each joint, -1 for the root.
    """

    free: Int[Tensor, " rotation"]
    _model: Any

    def __init__(self) -> None:
        super().__init__()
        model = copy.deepcopy(_construct())
        # Not a submodule: its buffers are rebuilt, never saved.
        object.__setattr__(self, "_model", model)
        labels: tuple[str, ...] = tuple(model.bone_labels)
        free = [i for i, name in enumerate(labels) if not name.startswith(("toe", "eye"))]
        self.name = "anny"
        self.joint_names = labels
        self.rotation_names = tuple(labels[i] for i in free)
        self.n_rot, self.n_shape = len(free), len(PHENOTYPES)
        self.shape_limit = SHAPE_LIMIT
        self.n_joints = len(labels)
        self.n_verts = int(model.template_vertices.shape[0])
        self.head_idx, self.pelvis_idx = labels.index("head"), 0
        self.parents = tuple(int(p) for p in model.bone_parents)
        self.licence = "Apache-2.0 (code), CC0 (data)"
        self.register_buffer("faces", model.get_triangular_faces().to(torch.int64), persistent=False)
        self.register_buffer("free", torch.tensor(free), persistent=False)
        self.register_buffer("init_6d", upright_init(self.n_rot), persistent=False)

    def _apply(self, fn: Any, recurse: bool = True) -> "AnnyBody":
        super()._apply(fn, recurse)
        self._model._apply(fn)
        return self

    def forward(
        self, rotmat: Float[Tensor, "person rotation 3 3"], shape: Float[Tensor, "person shape"]
    ) -> tuple[Float[Tensor, "person vertex 3"], Float[Tensor, "person joint 3"]]:
        self._check(rotmat, shape)
        return self.pose(rotmat, shape.sigmoid())

    def pose(
        self, rotmat: Float[Tensor, "person rotation 3 3"], phenotypes: Float[Tensor, "person shape"]
    ) -> tuple[Float[Tensor, "person vertex 3"], Float[Tensor, "person joint 3"]]:
        """As `forward`, with phenotypes in [0, 1] instead of their logits."""
        people = rotmat.shape[0]
        _ready_for_gradients(rotmat.device)
        pose = torch.eye(4, dtype=rotmat.dtype, device=rotmat.device).repeat(people, self.n_joints, 1, 1)
        padded = torch.nn.functional.pad(rotmat, (0, 1, 0, 1))
        corner = torch.zeros(4, 4, dtype=rotmat.dtype, device=rotmat.device)
        corner[3, 3] = 1.0
        pose = pose.index_copy(1, self.free, padded + corner)
        kwargs = {name: phenotypes[:, i] for i, name in enumerate(PHENOTYPES)}
        out = self._model(pose_parameters=pose, phenotype_kwargs=kwargs)
        joints = out["bone_poses"][..., :3, 3]
        pelvis = joints[:, self.pelvis_idx : self.pelvis_idx + 1]
        return out["vertices"] - pelvis, joints - pelvis

    def thinned(self, every: int) -> "AnnyBody":
        """The body with only every n-th vertex (n is `every`) and no triangles; same joints, about n times as fast."""
        thin = copy.copy(self)
        thin._modules, thin._buffers = dict(self._modules), dict(self._buffers)
        model = copy.deepcopy(self._model)
        for name in _PER_VERTEX:
            setattr(model, name, getattr(model, name)[::every].contiguous())
        model.blendshapes = model.blendshapes[:, ::every].contiguous()
        object.__setattr__(thin, "_model", model)
        thin.n_verts = int(model.template_vertices.shape[0])
        thin.register_buffer("faces", self.faces[:0], persistent=False)
        return thin

    def dominant_joint(self) -> Tensor:
        """(vertex,) the joint with the largest skinning weight at each vertex, which tells its body part."""
        model = self._model
        best = model.vertex_bone_weights.argmax(dim=1, keepdim=True)
        return model.vertex_bone_indices.gather(1, best)[:, 0]
