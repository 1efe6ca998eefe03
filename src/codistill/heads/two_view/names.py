"""Map tensor names between released MASt3R, DUSt3R and DUNE-MASt3R files and `TwoViewHead`.

For a released name (without the `mast3r.` prefix), it gives the name in `TwoViewHead`, or says whether the tensor is
unused or a duplicate. Layout: `dec_blocks`, `dec_blocks2` are the branches of view 1 and 2, `downstream_head{1,2}`
their heads.
"""

import re

_PLAIN = {"decoder_embed": "embed", "dec_norm": "decoder_norm", "norm": "norm"}
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.ASCII), ours)
    for pattern, ours in (
        (r"dec_blocks\.(.+)", "blocks1.{0}"),
        (r"dec_blocks2\.(.+)", "blocks2.{0}"),
        (r"downstream_head([12])\.head_local_features\.(.+)", "heads.{view}.local.{1}"),
        (
            r"downstream_head([12])\.dpt\.act_postprocess\.([0-3])\.(.+)",
            "heads.{view}.dense.reassemble.{1}.{2}",
        ),
        (
            r"downstream_head([12])\.dpt\.scratch\.layer([1-4])_rn\.(.+)",
            "heads.{view}.dense.reduce.{level}.{2}",
        ),
        (
            r"downstream_head([12])\.dpt\.scratch\.refinenet([1-4])\.resConfUnit1\.(.+)",
            "heads.{view}.dense.fuse.{level}.skip.{2}",
        ),
        (
            r"downstream_head([12])\.dpt\.scratch\.refinenet([1-4])\.resConfUnit2\.(.+)",
            "heads.{view}.dense.fuse.{level}.unit.{2}",
        ),
        (
            r"downstream_head([12])\.dpt\.scratch\.refinenet([1-4])\.out_conv\.(.+)",
            "heads.{view}.dense.fuse.{level}.out.{2}",
        ),
        (r"downstream_head([12])\.dpt\.head\.0\.(.+)", "heads.{view}.dense.before.{1}"),
        (r"downstream_head([12])\.dpt\.head\.2\.(.+)", "heads.{view}.dense.after.0.{1}"),
        (r"downstream_head([12])\.dpt\.head\.4\.(.+)", "heads.{view}.dense.after.2.{1}"),
    )
)

ENCODER_PREFIXES = ("patch_embed.", "enc_blocks.", "enc_norm.")
"""Tensors of MASt3R's own encoder; unused in DUNE-MASt3R files, whose encoder is in another file."""

_UNUSED = re.compile(
    r"mask_token"
    r"|downstream_head[12]\.dpt\.scratch\.refinenet4\.resConfUnit1\..+"  # the deepest fusion has no skip level
    r"|imagenet_(mean|std)"
    r"|dune_backbone\..+",
    re.ASCII,
)
_DUPLICATE = re.compile(r"(downstream_head[12]\.dpt\.scratch\.)layer_rn\.([0-3])\.(.+)", re.ASCII)


def to_ours(released: str) -> str | None:
    """Name in `TwoViewHead` of a released name; None if it is no tensor of decoder or heads."""
    module, _, leaf = released.rpartition(".")
    if module in _PLAIN:
        return f"{_PLAIN[module]}.{leaf}"
    for pattern, ours in _RULES:
        if (match := pattern.fullmatch(released)) and not is_unused(released):
            groups = match.groups()
            if ours.startswith("heads"):
                level = int(groups[1]) - 1 if "{level}" in ours else -1
                return ours.format(*groups, view=int(groups[0]) - 1, level=level)
            return ours.format(*groups)
    return None


def to_released(ours: str) -> str:
    """Released name of a tensor of `TwoViewHead`: the inverse of `to_ours`, for errors."""
    renames = (
        (r"^embed\.", "decoder_embed."),
        (r"^decoder_norm\.", "dec_norm."),
        (r"^blocks1\.", "dec_blocks."),
        (r"^blocks2\.", "dec_blocks2."),
        (r"^heads\.(\d)\.", lambda m: f"downstream_head{int(m[1]) + 1}."),
        (r"\.local\.", ".head_local_features."),
        (r"\.dense\.reassemble\.", ".dpt.act_postprocess."),
        (r"\.dense\.reduce\.(\d)\.", lambda m: f".dpt.scratch.layer{int(m[1]) + 1}_rn."),
        (r"\.dense\.fuse\.(\d)\.", lambda m: f".dpt.scratch.refinenet{int(m[1]) + 1}."),
        (r"\.skip\.", ".resConfUnit1."),
        (r"\.unit\.", ".resConfUnit2."),
        (r"\.out\.", ".out_conv."),
        (r"\.dense\.before\.", ".dpt.head.0."),
        (r"\.dense\.after\.0\.", ".dpt.head.2."),
        (r"\.dense\.after\.2\.", ".dpt.head.4."),
    )
    for pattern, replacement in renames:
        ours = re.sub(pattern, replacement, ours)
    return ours


def is_unused(released: str) -> bool:
    """Whether a released tensor is known not to affect any output."""
    return _UNUSED.fullmatch(released) is not None


def duplicate_of(released: str) -> str | None:
    """The released name that this one repeats (`scratch.layer_rn.{l}` is `scratch.layer{l+1}_rn`), or None."""
    match = _DUPLICATE.fullmatch(released)
    return f"{match[1]}layer{int(match[2]) + 1}_rn.{match[3]}" if match else None
