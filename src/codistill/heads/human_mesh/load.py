"""Read the head in released Multi-HMR files, without the body model's licensed tensors, and start a new head from one.

Takes the dictionary from `weights.read.read_checkpoint`; gives a `HumanMeshConfig` inferred from tensors and arguments,
and tensors under codistill's names. Unused tensors must be on a known list. A missing, surplus or misshapen tensor is
an error that names it. Key map: `names.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codistill.errors import CheckpointError, ConfigError
from codistill.heads.human_mesh.names import UNUSED_PREFIXES, is_unused, to_ours, to_released
from codistill.heads.human_mesh.network import HumanMeshConfig, HumanMeshHead
from codistill.heads.human_mesh.tables import resize_table
from codistill.weights.state import StateDict

PUBLISHED_ARGUMENTS: dict[str, Any] = {
    "camera_embedding": "geometric",
    "nearness": True,
    "person_center": "head",
}
"""Training arguments that change the meaning of a file's numbers, with the only values that are supported."""

HEAD_DIM = 32
PATCH_SIZE = 14
MAX_RESOLUTION = 64.0
"""Value in every published file; used if a file does not state it."""


@dataclass(frozen=True, kw_only=True)
class HumanMeshWeights:
    """A checked released head: it has every tensor of `HumanMeshHead(config)`.

    Attributes:
        config: the architecture, including the published code's swapped rays.
        tensors: tensors by their names in `HumanMeshHead`, in the file's dtype.
        unused: names in the file that are known not to belong to the head.
    """

    config: HumanMeshConfig
    tensors: dict[str, Tensor]
    unused: tuple[str, ...]

    def build(self) -> HumanMeshHead:
        """Build the head with these weights, in fp32, in evaluation mode."""
        with torch.device("meta"):
            head = HumanMeshHead(self.config)
        tensors = {name: tensor.float().clone() for name, tensor in self.tensors.items()}
        head.load_state_dict(tensors, assign=True)
        return head.eval()


def read_human_mesh(path: str | Path, checkpoint: Mapping[str, Any]) -> HumanMeshWeights:
    """Read the human-mesh head in a released checkpoint.

    Args:
        path: path of the file, for errors.
        checkpoint: content of the file: `model_state_dict` and `args`, or bare tensors.

    Raises:
        CheckpointError: if it is not such a file, or a tensor is missing, surplus or misshapen; the message names it.
    """
    state = StateDict.of_checkpoint(Path(path), checkpoint)
    arguments = _arguments(state, checkpoint)
    ours, unused = _renamed(state)
    config = _infer_config(ours, state, arguments)
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in HumanMeshHead(config).state_dict().items()}
    ours.check(expected, to_released)
    return HumanMeshWeights(config=config, tensors=ours.tensors, unused=unused)


@dataclass(frozen=True, kw_only=True)
class Initialization:
    """What `initialize` did.

    Attributes:
        loaded: codistill's names of tensors taken from the file.
        resized: codistill's names of tables interpolated from another image size, with both sizes.
        fresh: codistill's names of tensors left as they were, with the reason.
        unused: names in the file that were not used.
    """

    loaded: tuple[str, ...]
    resized: dict[str, str]
    fresh: dict[str, str]
    unused: tuple[str, ...]


def initialize(
    head: HumanMeshHead, path: str | Path, checkpoint: Mapping[str, Any], *, keep_start: bool = True
) -> Initialization:
    """Start a head from a released one; tensors that do not fit keep their initial values.

    Depth, width and attention heads must agree. The first layers depend on the encoder's width, the last ones on the
    body model. Tables of another image size are interpolated.

    Args:
        head: changed in place.
        path: path of the file, for errors.
        checkpoint: content of the file, as for `read_human_mesh`.
        keep_start: keep the head's own initial pose if the last pose layer is not loaded (the published initial pose is
            degenerate for hands and jaw); False takes the file's wherever it fits.

    Raises:
        CheckpointError: if the file has no head, or one of another width or depth; nothing is changed then.
    """
    state = StateDict.of_checkpoint(Path(path), checkpoint)
    arguments = _arguments(state, checkpoint)
    ours, unused = _renamed(state, tolerate_surplus=True)
    resized, fresh, fitting = {}, {}, {}
    own = head.state_dict()
    for name, tensor in own.items():
        found = ours.tensors.get(name)
        if found is None:
            fresh[name] = "not in the file"
        elif found.shape == tensor.shape:
            fitting[name] = found
        elif name.startswith("tables.") and found.ndim == 2 and found.shape[1] == tensor.shape[1]:
            fitting[name] = resize_table(found.float(), tensor.shape[0])
            resized[name] = f"{found.shape[0]} cells in the file, {tensor.shape[0]} here"
        else:
            fresh[name] = f"{tuple(found.shape)} in the file, {tuple(tensor.shape)} here"
    _check_layers(ours, head, fresh, _num_heads(ours, arguments))
    if keep_start and "init_pose" in fitting and "pose.weight" in fresh:
        del fitting["init_pose"]
        fresh["init_pose"] = "part of the last pose layer, which is fresh"
    head.load_state_dict(fitting, strict=False)
    surplus = [name for name in ours.tensors if name not in own]
    return Initialization(
        loaded=tuple(name for name in fitting if name not in resized),
        resized=resized,
        fresh=fresh,
        unused=(*unused, *(ours.names[name] for name in surplus)),
    )


def _check_layers(ours: StateDict, head: HumanMeshHead, fresh: Mapping[str, str], num_heads: int) -> None:
    """Check that the layers fit, except keys and values, which depend on the encoder's width."""
    own = dict(head.named_parameters())
    broken = {name: text for name, text in fresh.items() if name.startswith("layers.") and ".kv." not in name}
    more = [name for name in ours.tensors if name.startswith("layers.") and name not in own]
    broken |= dict.fromkeys(more, "is of a layer too many")
    config = head.config
    if not broken and num_heads != config.num_heads:
        broken = {"layers.0.self_attention.qkv.weight": f"has {num_heads} attention heads"}
    if broken:
        name, text = next(iter(broken.items()))
        raise CheckpointError(
            f"{ours.path}: its layers do not fit this head: {to_released(name)!r} {text} ({len(broken)} such tensors). "
            f"This head has dim {config.dim}, depth {config.depth}, {config.num_heads} attention heads of "
            f"{config.head_dim}, hidden {config.hidden}. Change the head's config to the file's, or start without it."
        )


def _arguments(state: StateDict, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Training arguments of the file; refused if they change the meaning of its tensors."""
    if not any(name.startswith("x_attention_head.") for name in state.tensors):
        some = ", ".join(list(state.names.values())[:3])
        raise CheckpointError(
            f"{state.path}: holds no human-mesh head (names `x_attention_head.…`); it holds {some} … . Expected a "
            "Multi-HMR file; look into it with `codistill inspect`."
        )
    given = checkpoint.get("args")
    arguments = dict(given) if isinstance(given, Mapping) else dict(getattr(given, "__dict__", {}))
    for name, allowed in PUBLISHED_ARGUMENTS.items():
        if arguments.get(name, allowed) != allowed:
            raise CheckpointError(
                f"{state.path}: was trained with {name}={arguments[name]!r}; files with {name}={allowed!r}, as all "
                "published ones, are read."
            )
    return arguments


def _renamed(state: StateDict, *, tolerate_surplus: bool = False) -> tuple[StateDict, tuple[str, ...]]:
    """Tensors under codistill's names, and the file's names that are known or tolerated as unused."""
    unused, renames = [], {}
    for name in state.tensors:
        ours = to_ours(name)
        if ours is not None:
            renames[name] = ours
        elif is_unused(name) or tolerate_surplus:
            unused.append(state.names[name])
        else:
            renames[name] = f"unknown: {name}"  # the final check reports it as surplus
    return state.renamed(renames.get), tuple(unused)


def _num_heads(ours: StateDict, arguments: Mapping[str, Any]) -> int:
    """Number of attention heads: from the arguments, else one per 32 channels, as in all published files."""
    inner = ours.tensor("layers.0.cross_attention.q.weight", 2).shape[0]
    heads = arguments.get("xat_num_heads") or max(1, inner // HEAD_DIM)
    if not isinstance(heads, int) or heads < 1 or inner % heads:
        raise CheckpointError(
            f"{ours.path}: says xat_num_heads={heads!r}, which does not divide the {inner} channels of "
            f"{to_released('layers.0.cross_attention.q.weight')!r}. The file is damaged or of another version."
        )
    return heads


def _infer_config(ours: StateDict, state: StateDict, arguments: Mapping[str, Any]) -> HumanMeshConfig:
    """Infer the architecture from the tensors; number of heads and frequencies come from the arguments."""
    width = ours.tensor("classify.0.weight", 2).shape[1]
    tables = ours.tensor("tables.query_rows", 2)
    bands, rest = divmod(tables.shape[1] - width - 3, 6)
    inner = ours.tensor("layers.0.cross_attention.q.weight", 2).shape[0]
    heads = _num_heads(ours, arguments)
    rotations = ours.tensor("pose.weight", 2).shape[0]
    if rest or bands < 1 or rotations % 6:
        raise CheckpointError(
            f"{state.path}: the sizes of its head do not go together: tokens of {width} channels and tables of "
            f"{tables.shape[1]} (expected tokens + 3 + 6 per frequency), {rotations} pose numbers (expected 6 per "
            "rotation). The file is damaged or of another version."
        )
    patch = state.tensors.get(f"{UNUSED_PREFIXES[0]}patch_embed.proj.weight")
    layers = {int(name.split(".")[1]) for name in ours.tensors if name.startswith("layers.")}
    expression = ours.tensors.get("expression.weight")
    resolution = arguments.get("camera_embedding_max_resolution") or MAX_RESOLUTION
    if not isinstance(resolution, (int, float)):
        raise CheckpointError(
            f"{state.path}: says camera_embedding_max_resolution={resolution!r}, not a number"
        )
    try:
        return HumanMeshConfig(
            encoder_dim=width,
            patch_size=PATCH_SIZE if patch is None else patch.shape[-1],
            n_rot=rotations // 6,
            n_shape=ours.tensor("shape.weight", 2).shape[0],
            n_expression=0 if expression is None else expression.shape[0],
            table_size=tables.shape[0],
            fresh_norm=False,
            dim=ours.tensor("embed.weight", 2).shape[0],
            depth=max(layers) + 1,
            num_heads=heads,
            head_dim=inner // heads,
            hidden=ours.tensor("layers.0.mlp.fc1.weight", 2).shape[0],
            num_bands=bands,
            max_resolution=float(resolution),
            swapped_rays=True,
        )
    except ConfigError as error:
        raise CheckpointError(f"{state.path}: {error}") from error
