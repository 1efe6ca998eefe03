"""Released two-view files: real-size listings, what is tolerated, what is refused and how, partial initialization."""

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from codistill.errors import CheckpointError
from codistill.heads.two_view.listing import dune_mast3r_listing, mast3r_listing
from codistill.heads.two_view.load import initialize, read_two_view
from codistill.heads.two_view.names import to_ours, to_released
from codistill.heads.two_view.network import TwoViewConfig, TwoViewHead
from codistill.nn.vit import ViTConfig
from shared_files import golden

LISTING = golden("keys_mast3r_vitlarge_512_catmlpdpt.json")

MAST3R = TwoViewConfig(encoder_dim=1024, patch_size=16, fresh_norm=False)
ENCODER = ViTConfig(
    dim=1024,
    depth=24,
    num_heads=16,
    patch_size=16,
    image_size=512,
    has_cls=False,
    has_mask_token=False,
    layer_scale=None,
    position="rope",
)
SMALL = TwoViewConfig(
    encoder_dim=24,
    patch_size=16,
    fresh_norm=False,
    dim=64,
    depth=3,
    num_heads=4,
    level_dims=(4, 6, 8, 10),
    fusion_dim=8,
    middle_dim=6,
    last_dim=5,
    descriptor_dim=7,
)
SMALL_ENCODER = replace(ENCODER, dim=24, depth=1, num_heads=2)
TEXT = (
    "AsymmetricMASt3R(pos_embed='RoPE100', patch_embed_cls='PatchEmbedDust3R', img_size=(512, 512), "
    "head_type='catmlp+dpt', output_mode='pts3d+desc7', depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), "
    "enc_embed_dim=24, enc_depth=1, enc_num_heads=2, dec_embed_dim=64, dec_depth=3, dec_num_heads=4, "
    "two_confs=True, desc_conf_mode=('exp', 0, inf))"
)


def released(config: TwoViewConfig = SMALL, text: str = TEXT) -> dict[str, Any]:
    """A file in the released layout: random fp16 tensors, duplicates equal."""
    generator = torch.Generator().manual_seed(0)
    model = {
        name: torch.randn(shape, generator=generator).half()
        for name, shape in sorted(mast3r_listing(config, SMALL_ENCODER).items())
    }
    for name in model:
        if ".layer_rn." in name:
            head, level = name.split(".scratch.layer_rn.")
            model[name] = model[f"{head}.scratch.layer{int(level[0]) + 1}_rn.weight"]
    return {"args": argparse.Namespace(model=text), "model": model, "epoch": 3}


def read(checkpoint: dict[str, Any]) -> Any:
    return read_two_view("file.pth", checkpoint)


def count_parameters(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Number of parameters of a listing; `scratch.layer_rn.*` repeats others and `imagenet_*` are constants."""
    return sum(
        math.prod(shape)
        for name, shape in shapes.items()
        if ".scratch.layer_rn." not in name and not name.startswith("imagenet_")
    )


def test_published_parameter_counts() -> None:
    assert count_parameters(mast3r_listing(MAST3R, ENCODER)) == 688_638_856
    assert len(mast3r_listing(MAST3R, ENCODER)) == 1017
    for dim, expected in ((768, 347_389_648), (384, 323_479_888)):
        config = TwoViewConfig(encoder_dim=dim, patch_size=14)
        assert count_parameters(dune_mast3r_listing(config)) == expected


def test_published_shapes_of_the_dune_decoders() -> None:
    base, small = (dune_mast3r_listing(TwoViewConfig(encoder_dim=dim, patch_size=14)) for dim in (768, 384))
    assert base["mast3r.downstream_head1.dpt.act_postprocess.0.0.weight"] == (96, 768, 1, 1)
    assert small["mast3r.downstream_head1.dpt.act_postprocess.0.0.weight"] == (96, 384, 1, 1)
    assert base["mast3r.downstream_head2.head_local_features.fc1.weight"] == (6144, 1536)
    assert small["mast3r.downstream_head2.head_local_features.fc1.weight"] == (4608, 1152)
    assert small["mast3r.downstream_head2.head_local_features.fc2.weight"] == (4900, 4608)
    assert base["norm.weight"] == (768,) and small["mast3r.decoder_embed.weight"] == (768, 384)


def test_published_listing_key_by_key() -> None:
    listing = {name: tuple(shape) for name, shape in json.loads(LISTING.read_text()).items()}
    assert mast3r_listing(MAST3R, ENCODER) == listing
    model = {name: torch.empty(shape, device="meta") for name, shape in listing.items()}
    assert read({"model": model}).config == MAST3R


def test_names_map_both_ways() -> None:
    with torch.device("meta"):
        ours = TwoViewHead(MAST3R).state_dict()
    assert {to_ours(to_released(name)) for name in ours} == set(ours)
    assert to_ours("enc_blocks.0.norm1.weight") is None
    assert to_ours("downstream_head1.dpt.scratch.refinenet4.resConfUnit1.conv1.weight") is None


def test_everything_is_read_from_the_file() -> None:
    weights = read(released())
    assert weights.config == SMALL and weights.layout == "mast3r" and weights.encoder is None
    head = weights.build()
    assert next(head.parameters()).dtype == torch.float32 and not head.training
    expected = released()["model"]["downstream_head2.dpt.scratch.refinenet2.resConfUnit1.conv2.weight"]
    assert torch.equal(head.state_dict()["heads.1.dense.fuse.1.skip.conv2.weight"], expected.float())


def test_the_dune_layout() -> None:
    config = replace(SMALL, fresh_norm=True, patch_size=14)
    model = {name: torch.randn(shape) for name, shape in dune_mast3r_listing(config).items()}
    for name in [name for name in model if ".layer_rn." in name]:
        level = int(name.split(".layer_rn.")[1][0])
        model[name] = model[name.replace(f"layer_rn.{level}", f"layer{level + 1}_rn")]
    model["imagenet_mean"] = model["imagenet_std"] = torch.zeros(1, 3, 1, 1)
    checkpoint = {"dune_backbone_name": "dune_x", "mast3r_model_str": TEXT, "model": model}
    weights = read(checkpoint)
    assert weights.layout == "dune-mast3r" and weights.encoder == "dune_x" and weights.config == config
    del model["norm.bias"]
    with pytest.raises(CheckpointError, match=r"missing keys: norm.bias"):
        read(checkpoint)


def test_modes_and_heads_come_from_the_constructor_text() -> None:
    text = TEXT.replace("conf_mode=('exp', 1, inf)", "conf_mode=('exp', 2, 9)", 1).replace(
        "RoPE100", "RoPE50"
    )
    text = text.replace("dec_num_heads=4", "dec_num_heads=2")
    config = read(released(text=text)).config
    assert (config.confidence.low, config.confidence.high) == (2.0, 9.0)
    assert config.rope_base == 50.0 and config.num_heads == 2
    without = read(released(text=TEXT.replace(", desc_conf_mode=('exp', 0, inf)", ""))).config
    assert without.descriptor_confidence == without.confidence


def test_dust3r_and_one_branch_files() -> None:
    config = replace(SMALL, descriptor_dim=0)
    checkpoint = released(config, TEXT.replace("pts3d+desc7", "pts3d"))
    checkpoint["model"] = {k: v for k, v in checkpoint["model"].items() if not k.startswith("dec_blocks2.")}
    weights = read(checkpoint)
    assert weights.layout == "dust3r" and weights.config == config
    head = weights.build()
    for one, two in zip(head.blocks1.parameters(), head.blocks2.parameters(), strict=True):
        assert torch.equal(one, two) and one.data_ptr() != two.data_ptr()


def with_key(key: str, value: Tensor | None) -> dict[str, Any]:
    checkpoint = released()
    if value is None:
        del checkpoint["model"][key]
    else:
        checkpoint["model"][key] = value
    return checkpoint


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dec_blocks.1.norm_y.weight", None, r"file.pth: missing keys: dec_blocks.1.norm_y.weight \(64,\)"),
        ("downstream_head1.dpt.head.4.bias", None, r"missing keys: downstream_head1.dpt.head.4.bias \(4,\)"),
        ("dec_blocks.1.gamma", torch.ones(3), r"surplus keys: dec_blocks.1.gamma \(3,\)"),
        ("something.else", torch.ones(3), r"surplus keys: something.else \(3,\)"),
        (
            "dec_blocks2.0.mlp.fc2.weight",
            torch.ones(64, 3),
            r"'dec_blocks2.0.mlp.fc2.weight' has shape \(64, 3\), expected \(64, 256\)",
        ),
        (
            "downstream_head1.dpt.scratch.layer_rn.0.weight",
            torch.ones(8, 4, 3, 3),
            r"layer_rn.0.weight' and '.*layer1_rn.weight' are one tensor under two names",
        ),
        ("decoder_embed.weight", None, "decoder_embed.weight|embed.weight"),
        ("patch_embed.proj.weight", None, "patch_embed.proj.weight"),
        (
            "downstream_head1.proj.weight",
            torch.ones(3),
            r"has linear heads \('downstream_head1.proj.weight'\)",
        ),
        ("dec_blocks.0.norm1.weight", torch.ones(64, dtype=torch.long), "holds int64"),
    ],
)
def test_a_wrong_tensor_is_named(key: str, value: Tensor | None, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(with_key(key, value))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("('exp', 1, inf)", "('softplus', 1, inf)", "conf_mode=.*is unknown"),
        ("('exp', -inf, inf)", "('linear', -inf, inf)", "depth_mode=.*is not read"),
        ("RoPE100", "cosine", "pos_embed='cosine' is not read"),
        ("desc7", "desc5", "descriptor head gives 2048 values"),
        ("dec_num_heads=4", "dec_num_heads=3", "3 heads do not divide the width 64"),
        ("(pos_embed", "(__import__('os').system('x'), pos_embed", "cannot read the constructor text"),
    ],
)
def test_a_constructor_text_that_is_not_understood_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(released(text=TEXT.replace(old, new, 1)))


def test_other_files_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"no two-view decoder.*blocks.0.norm1.weight"):
        read({"model": {"blocks.0.norm1.weight": torch.ones(3)}})
    with pytest.raises(CheckpointError, match="holds no tensors by name"):
        read({"epoch": 3})


def test_initialization_keeps_what_fits_another_encoder() -> None:
    head = TwoViewHead(replace(SMALL, fresh_norm=True, encoder_dim=20, patch_size=14)).eval()
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    done = initialize(head, "file.pth", released())
    fresh = {name.rpartition(".")[0] for name in done.fresh}
    assert fresh == {
        "norm",
        "embed",
        *(
            f"heads.{view}.{part}"
            for view in (0, 1)
            for part in ("dense.reassemble.0.0", "local.fc1", "local.fc2")
        ),
    } - {"embed.bias"}
    assert done.fresh["embed.weight"] == "(64, 24) in the file, (64, 20) here"
    assert done.fresh["norm.weight"] == "not in the file"
    assert "mask_token" in done.unused and "enc_norm.weight" in done.unused
    after, source = head.state_dict(), read(released()).tensors
    for name in done.loaded:
        assert torch.equal(after[name], source[name].float())
    for name in done.fresh:
        assert torch.equal(after[name], before[name])
    assert len(done.loaded) + len(done.fresh) == len(after)


def test_initialization_from_a_decoder_alone() -> None:
    """CroCo files: one branch, no two-view heads, a prediction head that nothing takes."""
    model = {k: v for k, v in released()["model"].items() if not k.startswith(("downstream", "dec_blocks2"))}
    model["prediction_head.weight"] = torch.ones(3)
    head = TwoViewHead(SMALL)
    done = initialize(head, "croco.pth", {"model": model})
    assert "prediction_head.weight" in done.unused
    assert all(name.startswith("heads.") for name in done.fresh)
    assert torch.equal(head.blocks2[2].mlp.fc1.weight, head.blocks1[2].mlp.fc1.weight)


@pytest.mark.parametrize("change", [{"dim": 32}, {"depth": 2}, {"depth": 4}])
def test_initialization_needs_the_same_decoder_and_changes_nothing_otherwise(change: dict[str, int]) -> None:
    head = TwoViewHead(replace(SMALL, **change))
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"its decoder does not fit this one: 'dec_blocks.*of dim"):
        initialize(head, "file.pth", released())
    assert all(torch.equal(tensor, before[name]) for name, tensor in head.state_dict().items())
