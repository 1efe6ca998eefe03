"""List a released MASt3R or DUNE-MASt3R file completely: every key with its shape, derived from the architecture.

The list includes tensors that codistill's modules leave out (duplicates, unused ones), so that a file can be compared
key by key, and its parameters counted as published.
"""

import torch

from codistill.heads.two_view.names import to_released
from codistill.heads.two_view.network import TwoViewConfig, TwoViewHead
from codistill.nn.vit import ViTConfig
from codistill.weights.layout_mast3r import file_name
from codistill.weights.vit import expected_shapes

Shapes = dict[str, tuple[int, ...]]


def mast3r_listing(config: TwoViewConfig, encoder: ViTConfig) -> Shapes:
    """Keys and shapes of `model` in a MASt3R file (DUSt3R with DPT heads if there is no descriptor head)."""
    shapes = _decoder(config)
    shapes |= {file_name(name): tuple(shape) for name, shape in expected_shapes(encoder).items()}
    return shapes


def dune_mast3r_listing(config: TwoViewConfig) -> Shapes:
    """Keys and shapes of `model` in a DUNE-MASt3R file, whose encoder is in another file."""
    dim, patch = config.encoder_dim, config.patch_size
    shapes = _decoder(config)
    norm = {name: shapes.pop(name) for name in ("norm.weight", "norm.bias")}
    shapes |= {
        "patch_embed.proj.weight": (dim, 3, patch, patch),
        "patch_embed.proj.bias": (dim,),
        "enc_norm.weight": (dim,),
        "enc_norm.bias": (dim,),
    }
    return norm | {f"mast3r.{name}": shape for name, shape in shapes.items()}


def _decoder(config: TwoViewConfig) -> Shapes:
    with torch.device("meta"):
        ours = {name: tuple(tensor.shape) for name, tensor in TwoViewHead(config).state_dict().items()}
    shapes = {to_released(name): shape for name, shape in ours.items()}
    width = config.fusion_dim
    for head in ("downstream_head1", "downstream_head2"):
        scratch = f"{head}.dpt.scratch"
        for level in range(4):
            shapes[f"{scratch}.layer_rn.{level}.weight"] = shapes[f"{scratch}.layer{level + 1}_rn.weight"]
        for conv in ("conv1", "conv2"):
            shapes[f"{scratch}.refinenet4.resConfUnit1.{conv}.weight"] = (width, width, 3, 3)
            shapes[f"{scratch}.refinenet4.resConfUnit1.{conv}.bias"] = (width,)
    return shapes | {"mask_token": (1, 1, config.dim)}
