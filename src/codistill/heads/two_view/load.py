"""Read released two-view files (MASt3R, DUSt3R with DPT heads, DUNE-MASt3R), and start a new head from one.

Takes the dictionary from `weights.read.read_checkpoint`; gives a `TwoViewConfig` inferred from the tensors and the
constructor text, and tensors under codistill's names. Unused tensors must be on a known list. A missing, surplus or
misshapen tensor is an error that names it. Key map: `names.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from codistill.errors import CheckpointError
from codistill.heads.two_view.architecture import infer_config
from codistill.heads.two_view.names import ENCODER_PREFIXES, duplicate_of, is_unused, to_ours, to_released
from codistill.heads.two_view.network import TwoViewConfig, TwoViewHead
from codistill.weights.constructor import Constructor, parse_constructor
from codistill.weights.state import StateDict

Layout = Literal["mast3r", "dust3r", "dune-mast3r"]
_DUNE_PREFIX = "mast3r."


@dataclass(frozen=True, kw_only=True)
class TwoViewWeights:
    """A checked released two-view network: it has every tensor of `TwoViewHead(config)`.

    Attributes:
        config: the architecture.
        tensors: tensors by their names in `TwoViewHead`, in the file's dtype.
        layout: the kind of file.
        encoder: the file's name of the encoder that it belongs to (DUNE-MASt3R), or None if the encoder is in the same
            file: `weights` reads it from there.
        unused: names in the file that are not used, all of them known.
    """

    config: TwoViewConfig
    tensors: dict[str, Tensor]
    layout: Layout
    encoder: str | None
    unused: tuple[str, ...]

    def build(self) -> TwoViewHead:
        """Build the head with these weights, in fp32, in evaluation mode."""
        with torch.device("meta"):
            head = TwoViewHead(self.config)
        tensors = {name: tensor.float().clone() for name, tensor in self.tensors.items()}
        head.load_state_dict(tensors, assign=True)
        return head.eval()


def read_two_view(
    path: str | Path, checkpoint: Mapping[str, Any], *, num_heads: int | None = None
) -> TwoViewWeights:
    """Read the two-view network in a released checkpoint.

    Args:
        path: path of the file, for errors.
        checkpoint: content of the file: `model` and `args`, or DUNE-MASt3R's `model`, `mast3r_model_str`,
            `dune_backbone_name`, or bare tensors.
        num_heads: number of heads of the decoder; None: from the constructor text, else one per 64 channels.

    Raises:
        CheckpointError: if it is not such a file, or a tensor is missing, surplus or misshapen; the message names it.
    """
    state, layout, text = _opened(Path(path), checkpoint)
    ours, unused = _renamed(state)
    _copy_missing_branch(ours)
    config = infer_config(ours, state, text, fresh_norm=layout == "dune-mast3r", num_heads=num_heads)
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in TwoViewHead(config).state_dict().items()}
    prefix = _DUNE_PREFIX if layout == "dune-mast3r" else ""
    ours.check(expected, lambda name: name if name.startswith("norm.") else prefix + to_released(name))
    encoder = checkpoint.get("dune_backbone_name") if layout == "dune-mast3r" else None
    return TwoViewWeights(
        config=config,
        tensors=ours.tensors,
        layout=layout if layout == "dune-mast3r" or config.descriptor_dim else "dust3r",
        encoder=None if encoder is None else str(encoder),
        unused=unused,
    )


@dataclass(frozen=True, kw_only=True)
class Initialization:
    """What `initialize` did.

    Attributes:
        loaded: codistill's names of tensors taken from the file.
        fresh: codistill's names of tensors left as they were, with the reason.
        unused: names in the file that were not used.
    """

    loaded: tuple[str, ...]
    fresh: dict[str, str]
    unused: tuple[str, ...]


def initialize(head: TwoViewHead, path: str | Path, checkpoint: Mapping[str, Any]) -> Initialization:
    """Start a head from a released decoder; tensors that do not fit keep their initial values.

    The decoder itself must fit. `embed`, the first DPT projection and the descriptor head depend on the encoder's width
    and patch size, and CroCo files have no heads.

    Args:
        head: changed in place.
        path: path of the file, for errors.
        checkpoint: content of the file, as for `read_two_view`; CroCo files (one branch, no heads) are accepted as
            well.

    Raises:
        CheckpointError: if the file has no decoder, or one of another width or depth; nothing is changed then.
    """
    state, _, _ = _opened(Path(path), checkpoint)
    ours, unused = _renamed(state, tolerate_surplus=True)
    _copy_missing_branch(ours)
    own = head.state_dict()
    fresh, fitting = {}, {}
    for name, tensor in own.items():
        found = ours.tensors.get(name)
        if found is None:
            fresh[name] = "not in the file"
        elif found.shape != tensor.shape:
            fresh[name] = f"{tuple(found.shape)} in the file, {tuple(tensor.shape)} here"
        else:
            fitting[name] = found
    broken = [name for name in fresh if name.startswith(("blocks1.", "blocks2.", "decoder_norm."))]
    surplus = [name for name in ours.tensors if name not in own]
    broken += [name for name in surplus if name.startswith(("blocks1.", "blocks2."))]
    if broken:
        name = broken[0]
        raise CheckpointError(
            f"{path}: its decoder does not fit this one: {to_released(name)!r} "
            f"{fresh.get(name, 'is a block too many')} ({len(broken)} such tensors). Use a decoder of "
            f"dim {head.config.dim} and depth {head.config.depth}, or change the head's config to the file's."
        )
    head.load_state_dict(fitting, strict=False)
    return Initialization(
        loaded=tuple(fitting), fresh=fresh, unused=(*unused, *(ours.names[name] for name in surplus))
    )


def _opened(path: Path, checkpoint: Mapping[str, Any]) -> tuple[StateDict, Layout, Constructor | None]:
    """State dict without the DUNE prefix, layout, and the constructor text if there is one."""
    state = StateDict.of_checkpoint(path, checkpoint)
    dune = any(name.startswith(_DUNE_PREFIX) for name in state.tensors)
    if dune:
        state = state.renamed(lambda name: name.removeprefix(_DUNE_PREFIX))
    if not any(name.startswith("dec_blocks.") for name in state.tensors):
        some = ", ".join(list(state.names.values())[:3])
        raise CheckpointError(
            f"{path}: holds no two-view decoder (names `dec_blocks.0.…`); it holds {some} … . Expected a MASt3R, "
            "DUSt3R or DUNE-MASt3R file; look into it with `codistill inspect`."
        )
    if any(name.startswith("downstream_head1.proj.") for name in state.tensors):
        raise CheckpointError(
            f"{path}: has linear heads ('downstream_head1.proj.weight'). Files with DPT heads are read; take the "
            "`dpt` file of the same model."
        )
    text = checkpoint.get("mast3r_model_str") or getattr(checkpoint.get("args"), "model", None)
    constructor = parse_constructor(text, f"{path}: the constructor text") if isinstance(text, str) else None
    return state, "dune-mast3r" if dune else "mast3r", constructor


def _renamed(state: StateDict, *, tolerate_surplus: bool = False) -> tuple[StateDict, tuple[str, ...]]:
    """Tensors under codistill's names, and the file's names of those known to be unused.

    Unknown names are kept, so that the final check reports them as surplus.
    """
    unused, renames = [], {}
    for name, tensor in state.tensors.items():
        ours = to_ours(name)
        original = duplicate_of(name)
        if original is not None:
            _check_duplicate(state, name, original, tensor)
            ours = None if original in state.tensors else to_ours(original)
        if ours is not None:
            renames[name] = ours
        elif original is not None or is_unused(name) or name.startswith(ENCODER_PREFIXES) or tolerate_surplus:
            unused.append(state.names[name])
        else:
            renames[name] = name
    return state.renamed(renames.get), tuple(unused)


def _check_duplicate(state: StateDict, name: str, original: str, tensor: Tensor) -> None:
    other = state.tensors.get(original)
    if other is None or tensor.is_meta:
        return
    if tensor.shape != other.shape or not torch.equal(tensor, other):
        raise CheckpointError(
            f"{state.path}: {state.names[name]!r} and {state.names[original]!r} are one tensor under two names in "
            "published files, but differ here. The file was altered: download it again."
        )


def _copy_missing_branch(ours: StateDict) -> None:
    """Use the only branch for both views if the file has no second one."""
    if any(name.startswith("blocks2.") for name in ours.tensors):
        return
    for name in [name for name in ours.tensors if name.startswith("blocks1.")]:
        twin = name.replace("blocks1.", "blocks2.", 1)
        ours.tensors[twin], ours.names[twin] = ours.tensors[name], ours.names[name]
