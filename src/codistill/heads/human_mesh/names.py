"""Map tensor names between released Multi-HMR files and `HumanMeshHead`.

For a released name, it gives the name in `HumanMeshHead`, or says whether the tensor is known not to belong to the
head.
"""

import re

_MODULES = {
    "mlp_classif": "classify",
    "mlp_offset": "offset",
    "x_attention_head.transformer.to_token_embedding": "embed",
    "x_attention_head.decpose": "pose",
    "x_attention_head.decshape": "shape",
    "x_attention_head.deccam": "camera",
    "x_attention_head.decexpression": "expression",
}
_TENSORS = {
    "x_attention_head.cross_queries_x": "tables.query_rows",
    "x_attention_head.cross_queries_y": "tables.query_columns",
    "x_attention_head.cross_values_x": "tables.value_rows",
    "x_attention_head.cross_values_y": "tables.value_columns",
    "x_attention_head.transformer.pos_embedding": "person_embedding",
    "x_attention_head.init_body_pose": "init_pose",
    "x_attention_head.init_betas": "init_shape",
    "x_attention_head.init_cam": "init_camera",
    "x_attention_head.init_expression": "init_expression",
}
_LAYER_PARTS = {
    "0.norm": "self_norm",
    "0.fn.to_qkv": "self_attention.qkv",
    "0.fn.to_out.0": "self_attention.proj",
    "1.norm": "cross_norm",
    "1.fn.to_q": "cross_attention.q",
    "1.fn.to_kv": "cross_attention.kv",
    "1.fn.to_out.0": "cross_attention.proj",
    "2.norm": "mlp_norm",
    "2.fn.net.0": "mlp.fc1",
    "2.fn.net.3": "mlp.fc2",
}
_LAYERS = "x_attention_head.transformer.transformer.layers."
_LAYER = re.compile(re.escape(_LAYERS) + r"(\d{1,4})\.(.+)\.(weight|bias)", re.ASCII)
_OUR_LAYER = re.compile(r"layers\.(\d+)\.(.+)\.(weight|bias)", re.ASCII)

UNUSED_PREFIXES = ("backbone.encoder.", "smpl_layer.")
"""The encoder, which `weights` reads, and the body model's own, licensed data, which is never read from these files."""
_UNUSED = ("x_attention_head.init_betas_kid",)

_TO_RELEASED = {ours: released for released, ours in (_MODULES | _TENSORS).items()}
_OUR_PARTS = {ours: released for released, ours in _LAYER_PARTS.items()}


def to_ours(released: str) -> str | None:
    """Name in `HumanMeshHead` of a released name; None if it is no tensor of the head."""
    if released in _TENSORS:
        return _TENSORS[released]
    if match := _LAYER.fullmatch(released):
        part = _LAYER_PARTS.get(match[2])
        return None if part is None else f"layers.{int(match[1])}.{part}.{match[3]}"
    for module, ours in _MODULES.items():
        if released.startswith(f"{module}."):
            return ours + released[len(module) :]
    return None


def to_released(ours: str) -> str:
    """Released name of a tensor of `HumanMeshHead`: the inverse of `to_ours`, for errors."""
    if ours in _TO_RELEASED:
        return _TO_RELEASED[ours]
    if (match := _OUR_LAYER.fullmatch(ours)) and match[2] in _OUR_PARTS:
        return f"{_LAYERS}{match[1]}.{_OUR_PARTS[match[2]]}.{match[3]}"
    module, _, rest = ours.partition(".")
    return f"{_TO_RELEASED.get(module, module)}.{rest}"


def is_unused(released: str) -> bool:
    """Whether a released tensor is known not to belong to the head."""
    return released.startswith(UNUSED_PREFIXES) or released in _UNUSED
