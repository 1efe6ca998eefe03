"""Content of a weights file of any layout: one encoder, or a student with projectors and target statistics.

Tensors keep the file's dtype and may be memory-mapped.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from codistill.nn.network import NetworkConfig
from codistill.nn.position import resize_position_embedding
from codistill.nn.vit import ViTConfig
from codistill.types import IMAGENET_MEAN, IMAGENET_STD, TokenKind

TargetMoments = dict[str, dict[TokenKind, tuple[Tensor, ...]]]
"""Per teacher and token kind: mean and standard deviation, each (channel,), followed by a rotation (channel, channel)
where the targets were rotated (PHI-S)."""

STD_FLOOR = 1e-3
"""Default lower bound of a target's standard deviation."""

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_BUFFERS += ("init_pose", "init_shape", "init_camera", "init_expression")
"""Last parts of names of stored tensors that are not trained: statistics of batch norm, start values of Multi-HMR."""


def count_parameters(tensors: Mapping[str, Tensor]) -> int:
    """Number of values in the tensors of a network, without its buffers."""
    return sum(tensor.numel() for name, tensor in tensors.items() if name.rpartition(".")[2] not in _BUFFERS)


@dataclass(frozen=True, kw_only=True)
class EncoderWeights:
    """A vision transformer, with exactly the tensors of `VisionTransformer(config)`, or a network of timm.

    Attributes:
        config: the architecture, read from the tensors or (for networks of timm) from the JSON.
        tensors: tensors by their names in the network.
        layout: the kind of file, e.g. `dinov2`.
        name: the known name, or the file's stem.
        mean, std: the normalization the network was trained with.
        licence: licence of the weights; starts with "unknown" where neither the file nor its name says it.
        extra: other entries of the file, as plain values (training arguments, iteration, notes).
    """

    config: ViTConfig | NetworkConfig
    tensors: dict[str, Tensor]
    layout: str
    name: str
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    licence: str = "unknown"
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def num_parameters(self) -> int:
        """Number of parameters; statistics of batch norm are none."""
        return count_parameters(self.tensors)

    def at_image_size(self, image_size: int) -> "EncoderWeights":
        """The same weights for another native square size.

        A learned position embedding is resized once, bicubically by size (as in the second training stage).

        Raises:
            ConfigError: if `image_size` is not a multiple of the patch size.
        """
        config = replace(self.config, image_size=image_size)
        if (
            isinstance(config, NetworkConfig)
            or config.position != "learned"
            or image_size == self.config.image_size
        ):
            return replace(self, config=config)
        side = image_size // config.patch_size
        embedding = resize_position_embedding(
            self.tensors["pos_embed"].float(), (side, side), num_prefix=config.num_prefix, offset=None
        )
        return replace(self, config=config, tensors={**self.tensors, "pos_embed": embedding})


@dataclass(frozen=True, kw_only=True)
class StudentWeights:
    """A distilled student read from a file.

    Attributes:
        encoder: its encoder.
        projectors: per teacher, tensors by their name within that teacher's projector: `blocks.0.…`, `linear.…`
            (transformer) or `{kind}.{block}.layers.{0,2}.…` (ladder, MLP).
        statistics: the teachers' target statistics; they determine which token kinds are targets.
        std_floor: lower bound of a standard deviation by which targets are divided.
        teachers: one description per teacher, in order: at least `name`, `dim`, `kinds`; `licence`, `domain` … if in
            the file.
        proj_args: arguments of the projectors in the file (released files: `num_heads` … or nothing).
        iteration: number of optimizer steps done, or None.
        recipe: recipe of its training, or None.
    """

    encoder: EncoderWeights
    projectors: dict[str, dict[str, Tensor]]
    statistics: TargetMoments
    teachers: tuple[dict[str, Any], ...]
    proj_args: dict[str, Any] = field(default_factory=dict)
    iteration: int | None = None
    recipe: Any = None
    std_floor: float = STD_FLOOR

    @property
    def num_projector_parameters(self) -> int:
        """Number of parameters of all projectors."""
        return sum(count_parameters(projector) for projector in self.projectors.values())
