"""Read DINOv2's released linear heads (`decode_head.*` in a .pth file), and codistill's own with the same keys.

Takes a file, gives a head in evaluation mode whose sizes follow from its tensors.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from codistill.errors import CheckpointError
from codistill.heads.linear.depth import DepthHead, DepthHeadConfig
from codistill.heads.linear.normals import NormalsHead, NormalsHeadConfig
from codistill.heads.linear.segmentation import SegmentationHead, SegmentationHeadConfig
from codistill.weights.read import read_checkpoint
from codistill.weights.state import StateDict

PREFIX = "decode_head."

LinearHead = SegmentationHead | DepthHead | NormalsHead
Kind = TypeVar("Kind", SegmentationHead, DepthHead, NormalsHead)
HOLDS = {SegmentationHead: "segmentation", DepthHead: "depth", NormalsHead: "normals"}
"""What a head predicts, for errors."""


def read_head_of(kind: type[Kind], path: str | Path, **limits: float) -> Kind:
    """Read the linear head of a given kind from a file; see `read_linear_head`.

    Raises:
        CheckpointError: also if the file holds a head of another kind.
    """
    head = read_linear_head(path, **limits)
    if not isinstance(head, kind):
        raise CheckpointError(f"{path}: holds a head for {HOLDS[type(head)]}, not one for {HOLDS[kind]}")
    return head


def read_linear_head(path: str | Path, *, nearest: float = 1e-3, farthest: float = 10.0) -> LinearHead:
    """Read the linear head in a file.

    Args:
        path: a released .pth file or a .safetensors file with its keys.
        nearest, farthest: depth range in metres, which depth files do not contain. The default is NYU's, as for the
            published numbers; DINOv2's own loader uses KITTI's 80 for every data set.

    Raises:
        CheckpointError: if there is no such file, or it holds no linear head, or more than one.
    """
    path = Path(path)
    state = StateDict.of_checkpoint(path, read_checkpoint(path)).under(PREFIX)
    if state.has("conv_depth.weight"):
        weight = state.tensor("conv_depth.weight", 4)
        head: LinearHead = DepthHead(
            DepthHeadConfig(
                channels=weight.shape[1], bins=weight.shape[0], nearest=nearest, farthest=farthest
            )
        )
    elif state.has("conv_seg.weight"):
        weight = state.tensor("conv_seg.weight", 4)
        head = SegmentationHead(SegmentationHeadConfig(channels=weight.shape[1], num_classes=weight.shape[0]))
    elif state.has("conv_normals.weight"):
        head = NormalsHead(NormalsHeadConfig(channels=state.tensor("conv_normals.weight", 4).shape[1]))
    else:
        raise CheckpointError(
            f"{path}: holds no linear head (no {PREFIX}conv_{{seg,depth,normals}}.weight). Expected a "
            "head of `codistill fit`, or DINOv2's released `*_linear_head.pth`; other heads (multi-scale DPT, "
            "Mask2Former) are not linear."
        )
    # Batch norm's counter is only used with momentum=None, and some exports lack it.
    state.tensors.pop("bn.num_batches_tracked", None)
    expected = {n: t.shape for n, t in head.state_dict().items() if not n.endswith("num_batches_tracked")}
    state.check(expected, lambda name: PREFIX + name)
    head.load_state_dict({name: tensor.float() for name, tensor in state.tensors.items()}, strict=False)
    return head.eval()


def released_tensors(head: LinearHead) -> Mapping[str, Tensor]:
    """A head's tensors under the released keys."""
    return {PREFIX + name: tensor for name, tensor in head.state_dict().items()}
