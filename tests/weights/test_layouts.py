"""Every layout, detected and read from its tensors; every way a file can be wrong, said with its names."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from codistill.errors import CheckpointError, CodistillError
from codistill.nn.vit import VisionTransformer, ViTConfig
from codistill.weights.contents import EncoderWeights, StudentWeights
from codistill.weights.layouts import (
    LAYOUTS,
    detect_layout,
    read_encoder_weights,
    read_student_weights,
    read_weights,
)
from codistill.weights.state import StateDict
from codistill.weights.stated import Stated
from codistill.weights.vit import expected_shapes
from shared_files import OWN_GOLDEN, golden

REGISTERS = {"num_registers": 4}


def vit(**options: object) -> dict[str, Tensor]:
    """Random tensors of a small ViT, under our names."""
    config = ViTConfig(**{"dim": 64, "depth": 3, "num_heads": 1, "image_size": 42, **options})  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in expected_shapes(config).items()}


def in_chunks(tensors: dict[str, Tensor], chunk_of: Callable[[int], str]) -> dict[str, Tensor]:
    return {
        name.replace(f"blocks.{name.split('.')[1]}.", f"blocks.{chunk_of(int(name.split('.')[1]))}.")
        if name.startswith("blocks.")
        else name: tensor
        for name, tensor in tensors.items()
    }


def saved(tmp_path: Path, content: object, name: str = "weights.pth") -> Path:
    torch.save(content, tmp_path / name)
    return tmp_path / name


def assert_same_tensors(weights: EncoderWeights, tensors: dict[str, Tensor]) -> None:
    assert set(weights.tensors) == set(tensors)
    assert all(torch.equal(weights.tensors[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("options", [{}, {"has_mask_token": False}, {"feed_forward": "swiglu", "hidden": 40}])
def test_dinov2_without_registers(tmp_path, options: dict) -> None:
    tensors = vit(**options)
    weights = read_encoder_weights(saved(tmp_path, tensors, "dinov2_vits14_pretrain.pth"))
    config = weights.config
    assert (config.dim, config.depth, config.num_heads, config.image_size) == (64, 3, 1, 42)
    assert (config.position_offset, config.position_antialias, config.num_registers) == (0.1, False, 0)
    assert (weights.name, weights.licence, weights.layout) == ("dinov2_vits14", "Apache-2.0", "DINOv2")
    assert_same_tensors(weights, tensors)


def test_dinov2_with_registers_resizes_by_size_and_dune_by_factor(tmp_path) -> None:
    tensors = vit(**REGISTERS)
    hub = read_encoder_weights(saved(tmp_path, tensors, "dinov2_vits14_reg4_pretrain.pth"))
    assert (hub.layout, hub.config.position_offset, hub.config.position_antialias) == ("DINOv2", 0.0, True)
    chunked = in_chunks(tensors, lambda i: f"0.{i}")
    dune = read_encoder_weights(saved(tmp_path, chunked, "dune.pth"))
    assert (dune.layout, dune.config.position_offset, dune.config.position_antialias) == (
        "DUNE encoder",
        0.1,
        False,
    )
    assert_same_tensors(dune, tensors)


@pytest.mark.parametrize(
    "chunk_of",
    [lambda i: f"0.{i}", lambda i: f"{i // 2}.{i}", lambda i: f"{i // 2}.{i % 2}"],
    ids=["one chunk", "counting through", "counting anew"],
)
def test_blocks_in_chunks(tmp_path, chunk_of: Callable[[int], str]) -> None:
    tensors = vit()
    assert_same_tensors(read_encoder_weights(saved(tmp_path, in_chunks(tensors, chunk_of))), tensors)


def test_dinov2_training_checkpoint(tmp_path) -> None:
    tensors = vit(**REGISTERS)
    teacher = {f"backbone.{name}": tensor for name, tensor in tensors.items()}
    teacher["dino_head.mlp.0.weight"] = torch.zeros(3)
    weights = read_encoder_weights(saved(tmp_path, {"teacher": teacher}))
    assert weights.layout == "DINOv2 training"
    assert_same_tensors(weights, tensors)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_released_student_under_any_wrapper(tmp_path, prefix: str) -> None:
    file = saved(tmp_path, student_file(prefix), "dune_vitbase14_448.pth")
    weights = read_student_weights(file)
    assert_same_tensors(weights.encoder, vit(**REGISTERS))
    assert weights.encoder.name == "dune_vitbase_14_448" and "non-commercial" in weights.encoder.licence
    assert [(t["name"], t["dim"], t["kinds"]) for t in weights.teachers] == [
        ("dino2reg_vitlarge_14", 10, ["cls", "patch"]),
        ("alpha", 20, ["patch"]),
    ]
    assert weights.teachers[0]["licence"] == "Apache-2.0" and weights.teachers[1]["licence"] == "unknown"
    assert (weights.iteration, weights.proj_args) == (7, {"num_heads": 2})
    assert set(weights.projectors["alpha"]) == {"blocks.0.norm1.weight", "linear.weight", "linear.bias"}
    mean, std = weights.statistics["dino2reg_vitlarge_14"]["cls"]
    assert mean.tolist() == [0.0] * 10 and std.tolist() == [1.0] * 10


def student_file(prefix: str = "") -> dict:
    """A file in the released layout: chunks, wrappers' prefixes, teachers in another order than the keys."""
    encoder = in_chunks(vit(**REGISTERS), lambda i: f"0.{i}")
    model = {f"{prefix}encoder.{name}": tensor for name, tensor in encoder.items()}
    for teacher, dim, kinds in (("alpha", 20, ["patch"]), ("dino2reg_vitlarge_14", 10, ["cls", "patch"])):
        root = f"{prefix}projectors.{teacher}"
        model |= {f"{root}.blocks.0.norm1.weight": torch.ones(64)}
        model |= {f"{root}.linear.weight": torch.zeros(dim, 64), f"{root}.linear.bias": torch.zeros(dim)}
        for kind in kinds:
            norm = f"{prefix}teacher_norms.{teacher}.normalizers.{kind}"
            model |= {f"{norm}.mean": torch.zeros(dim), f"{norm}.std": torch.ones(dim)}
    args = argparse.Namespace(
        image_size=42,
        enc_args={"arch": "vit_nano"},
        proj_args={"num_heads": 2},
        teachers=["dino2reg_vitlarge_14", "alpha"],
    )
    return {"model": model, "optimizer": {"state": {}}, "iter": 7, "args": args}


def test_ladder_students(tmp_path) -> None:
    """UNIC's names, with and without a prefix of their own."""
    model = {f"encoder.{name}": tensor for name, tensor in vit().items()}
    for kind in ("cls", "patch"):
        for block in (0, 2):
            root = f"lp.heads.teacher_a.{kind}.{block}.layers"
            model |= {f"{root}.0.weight": torch.zeros(8, 64), f"{root}.0.bias": torch.zeros(8)}
            model |= {f"{root}.2.weight": torch.zeros(12, 8), f"{root}.2.bias": torch.zeros(12)}
    weights = read_student_weights(saved(tmp_path, {"model": model}))
    assert weights.teachers[0]["dim"] == 12
    assert "patch.2.layers.2.weight" in weights.projectors["teacher_a"]
    assert len(weights.projectors["teacher_a"]) == 16


def test_disagreeing_arguments_are_noted_and_the_tensors_count(tmp_path) -> None:
    content = student_file()
    content["args"].enc_args["arch"] = "vit_base"
    weights = read_student_weights(saved(tmp_path, content))
    assert weights.encoder.config.dim == 64
    assert (
        "vit_base (768 wide, 12 blocks); its tensors are 64 wide with 3 blocks"
        in weights.encoder.extra["note"]
    )


MAST3R = "AsymmetricMASt3R(pos_embed='RoPE50', img_size=(80, 64), enc_num_heads={heads}, depth_mode=('exp', -inf, inf))"


def mast3r_file(text: str | None = MAST3R.format(heads=4)) -> dict:
    tensors = vit(
        patch_size=16, position="rope", image_size=64, has_cls=False, has_mask_token=False, layer_scale=None
    )
    model = {}
    for name, tensor in tensors.items():
        model[name.replace("blocks.", "enc_blocks.") if name.startswith("blocks") else name] = tensor
    model = {
        name.replace("norm.", "enc_norm.") if name.startswith("norm.") else name: t
        for name, t in model.items()
    }
    model |= {"mask_token": torch.zeros(1, 1, 8), "decoder_embed.weight": torch.zeros(8, 64)}
    model |= {
        "downstream_head1.dpt.head.0.weight": torch.zeros(2),
        "dec_blocks.0.norm1.weight": torch.zeros(8),
    }
    return {"model": model, "args": argparse.Namespace(model=text)}


def test_mast3r_encoder(tmp_path) -> None:
    weights = read_encoder_weights(saved(tmp_path, mast3r_file()))
    config = weights.config
    assert (config.num_heads, config.rope_base, config.image_size, config.patch_size) == (4, 50.0, 80, 16)
    assert (config.position, config.has_cls, config.layer_scale, config.has_mask_token) == (
        "rope",
        False,
        None,
        False,
    )
    assert weights.mean == weights.std == (0.5, 0.5, 0.5) and weights.layout == "MASt3R"
    VisionTransformer(config).load_state_dict(weights.tensors)


def test_mast3r_without_a_text_has_one_head_per_64_channels(tmp_path) -> None:
    content = mast3r_file()
    del content["args"]
    weights = read_encoder_weights(saved(tmp_path, content))
    assert (weights.config.num_heads, weights.config.image_size, weights.config.rope_base) == (1, 512, 100.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("__import__('os').system('true')", r"args\.model: cannot read the constructor text"),
        ("Net(pos_embed='cosine')", "positions 'cosine'; only RoPE"),
        ("Net(enc_num_heads='x')", "enc_num_heads must be a whole number"),
        ("Net(enc_num_heads=7)", "7 heads do not divide the width 64"),
        ("Net(img_size='large')", "img_size must be one or two sides"),
    ],
)
def test_mast3r_texts_that_do_not_fit(tmp_path, text: str, said: str) -> None:
    with pytest.raises(CheckpointError, match=rf"weights\.pth: .*{said}|weights\.pth: {said}"):
        read_weights(saved(tmp_path, mast3r_file(text)))


def test_multihmr_backbone(tmp_path) -> None:
    tensors = vit(dim=96, num_heads=3)
    state = {f"backbone.encoder.{name}": tensor.half() for name, tensor in tensors.items()}
    state |= {"mlp_classif.0.weight": torch.zeros(2), "smpl_layer.neutral_10.bm_x.shapedirs": torch.zeros(2)}
    file = saved(tmp_path, {"model_state_dict": state, "epoch": 3, "args": argparse.Namespace(img_size=[42])})
    weights = read_encoder_weights(file, num_heads=3)
    assert weights.layout == "Multi-HMR" and weights.extra["epoch"] == 3
    assert set(weights.tensors) == set(tensors) and weights.tensors["cls_token"].dtype == torch.float16
    with pytest.raises(CheckpointError, match=r"width 96 is not a multiple of 64.*weights\.pth,num_heads="):
        read_weights(file)


def damage_missing(state: dict[str, Tensor]) -> None:
    del state["encoder.blocks.0.1.attn.qkv.bias"]


def damage_surplus(state: dict[str, Tensor]) -> None:
    state["encoder.blocks.0.1.attn.bias_table"] = torch.zeros(3)


def damage_shape(state: dict[str, Tensor]) -> None:
    state["encoder.blocks.0.2.mlp.fc2.weight"] = torch.zeros(64, 255)


def damage_block(state: dict[str, Tensor]) -> None:
    for name in [name for name in state if name.startswith("encoder.blocks.0.1.")]:
        del state[name]


def damage_dtype(state: dict[str, Tensor]) -> None:
    state["encoder.norm.weight"] = torch.zeros(64, dtype=torch.int8)


def damage_positions(state: dict[str, Tensor]) -> None:
    state["encoder.pos_embed"] = torch.zeros(1, 12, 64)


def damage_projector(state: dict[str, Tensor]) -> None:
    del state["projectors.alpha.linear.weight"], state["projectors.alpha.linear.bias"]
    del state["projectors.alpha.blocks.0.norm1.weight"]


def damage_statistics(state: dict[str, Tensor]) -> None:
    state["teacher_norms.alpha.normalizers.patch.std"] = torch.zeros(3)


def damage_width(state: dict[str, Tensor]) -> None:
    state["projectors.alpha.linear.weight"] = torch.zeros(21, 64)


def damage_value(state: dict[str, Tensor]) -> None:
    state["encoder.norm.bias"] = torch.full((64,), torch.nan).half()


def damage_projector_value(state: dict[str, Tensor]) -> None:
    state["projectors.alpha.linear.weight"] = torch.full((20, 64), torch.inf)


def damage_sparse(state: dict[str, Tensor]) -> None:
    state["encoder.norm.bias"] = torch.zeros(64).to_sparse()


def damage_unknown(state: dict[str, Tensor]) -> None:
    state["segmentation.weight"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_missing, r"missing keys: encoder\.blocks\.0\.1\.attn\.qkv\.bias \(192,\)"),
        (damage_surplus, r"surplus keys: encoder\.blocks\.0\.1\.attn\.bias_table \(3,\)"),
        (
            damage_shape,
            r"'encoder\.blocks\.0\.2\.mlp\.fc2\.weight' has shape \(64, 255\), expected \(64, 256\)",
        ),
        (damage_block, r"has 2 blocks, but block 1 is missing"),
        (damage_dtype, r"'encoder\.norm\.weight' holds int8, expected floating-point"),
        (damage_positions, r"'encoder\.pos_embed' has shape \(1, 12, 64\): 11 patches are no square grid"),
        (damage_projector, r"teachers alpha have either a projector or target statistics, not both"),
        (damage_statistics, r"target statistics of 'alpha', patch: .*\(3,\)"),
        (damage_width, r"width of teacher 'alpha' is unclear: .*\[20, 21\]"),
        (damage_value, r"'encoder\.norm\.bias' holds values that are not finite"),
        (damage_projector_value, r"'projectors\.alpha\.linear\.weight' holds values that are not finite"),
        (damage_sparse, r"'encoder\.norm\.bias' is a sparse tensor"),
        (damage_unknown, r"surplus keys: segmentation\.weight"),
    ],
)
def test_wrong_tensors_are_named(tmp_path, damage: Callable[[dict[str, Tensor]], None], said: str) -> None:
    content = student_file()
    damage(content["model"])
    with pytest.raises(CheckpointError, match=rf"weights\.pth: .*{said}|weights\.pth: {said}"):
        read_weights(saved(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"epoch": 3}, r"holds no tensors by name \(it holds: epoch\)"),
        ({"layer1.weight": torch.zeros(2)}, r"no known layout. Its 1 tensors are called layer1\.weight"),
        ({"embeddings.patch_embeddings.projection.weight": torch.zeros(2)}, "hf:FOLDER"),
        (vit() | {"reg_token": torch.zeros(2)}, "is a timm model: .*timm:NAME"),
        (vit() | {"storage_tokens": torch.zeros(2)}, "in DINOv3's own layout: .*dinov3_vitb16"),
        (
            {"mast3r.decoder_embed.weight": torch.zeros(2)},
            "two-view decoder for the encoder 'a DUNE encoder'",
        ),
        ({"w": torch.zeros(1), "module.w": torch.zeros(1)}, "holds w twice, under different prefixes"),
        (
            {"model": {"w": torch.zeros(1)}, "ema": {"module.w": torch.ones(1)}},
            r"the same tensors twice, as 'model' and as 'ema'.*torch\.save\(checkpoint\['ema'\]",
        ),
    ],
)
def test_files_that_hold_no_encoder(tmp_path, content: dict, said: str) -> None:
    with pytest.raises(CheckpointError, match=rf"weights\.pth: .*{said}"):
        read_weights(saved(tmp_path, content))


@pytest.mark.parametrize(
    ("prefix", "missing"),
    [
        ("", "patch_embed.proj.weight"),
        *(
            (prefix, name)
            for prefix in ("", "encoder.", "backbone.encoder.")
            for name in ("pos_embed", "norm.weight")
        ),
    ],
)
def test_a_missing_tensor_that_tells_the_layout_is_named(tmp_path, prefix: str, missing: str) -> None:
    """Without the position embedding, positions were taken for rotary."""
    state = {f"{prefix}{name}": tensor for name, tensor in vit().items() if name != missing}
    with pytest.raises(CheckpointError, match=rf"weights\.pth: miss.*{missing}"):
        read_weights(saved(tmp_path, state), stated=Stated(like="dinov2"))


def test_an_encoder_is_no_student(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"holds an encoder without projectors \(layout DINOv2\)"):
        read_student_weights(saved(tmp_path, vit(), "dinov2_vits14.pth"))


@pytest.mark.parametrize("file", sorted(OWN_GOLDEN.glob("keys_dune_*.json")), ids=lambda file: file.stem)
def test_published_listings_at_real_size(file: Path) -> None:
    """Keys and shapes of the published files: every one is understood, none is left over, nothing is allocated."""
    listing = json.loads(file.read_text())
    tensors = {name: torch.empty(shape, device="meta") for name, shape in listing.items()}
    state = StateDict.of_checkpoint(file, {"model": tensors})
    assert detect_layout(state) == "DUNE / UNIC student"
    weights = LAYOUTS["DUNE / UNIC student"].read(state, Stated())
    assert isinstance(weights, StudentWeights)
    config = weights.encoder.config
    assert config.num_heads == config.dim // 64 and config.num_registers == 4
    assert config.image_size == int(file.stem.rpartition("_")[2])
    assert [teacher["dim"] for teacher in weights.teachers] == [1024] * 3
    kept = set(weights.encoder.tensors) | {n for p in weights.projectors.values() for n in p}
    assert kept and weights.encoder.num_parameters + weights.num_projector_parameters + 4 * 2 * 1024 == sum(
        tensor.numel() for tensor in tensors.values()
    )
    published = {768: {336: 85.97e6, 448: 86.32e6}, 384: {336: 21.75e6, 448: 21.93e6}}[config.dim][
        config.image_size
    ]
    assert weights.encoder.num_parameters == pytest.approx(published, rel=2e-4)


def test_published_mast3r_listing_at_real_size() -> None:
    file = golden("keys_mast3r_vitlarge_512_catmlpdpt.json")
    tensors = {
        name: torch.empty(shape, device="meta") for name, shape in json.loads(file.read_text()).items()
    }
    state = StateDict.of_checkpoint(file, {"model": tensors})
    weights = LAYOUTS[detect_layout(state)].read(state, Stated())
    assert isinstance(weights, EncoderWeights)
    assert (weights.config.dim, weights.config.depth, weights.config.num_heads) == (1024, 24, 16)


def test_every_error_is_ours(tmp_path) -> None:
    """Shapes that make no sense anywhere."""
    for shape in ((), (3,), (0, 3, 14, 14), (64, 3, 14, 13), (64, 4, 14, 14)):
        tensors = vit() | {"patch_embed.proj.weight": torch.zeros(shape)}
        with pytest.raises(CodistillError, match=r"weights\.pth"):
            read_weights(saved(tmp_path, tensors))
