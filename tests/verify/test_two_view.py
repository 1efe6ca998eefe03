"""Verification: the recorded numbers pass, altered ones fail, other sizes work, a missing file is named."""

import argparse
import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from codistill.encoders.vit import ViTEncoder
from codistill.errors import CodistillError
from codistill.heads.two_view.listing import mast3r_listing
from codistill.heads.two_view.load import read_two_view
from codistill.heads.two_view.network import TwoViewConfig
from codistill.nn.vit import ViTConfig
from codistill.verify.suite import run_suite
from codistill.verify.two_view import PARTS
from codistill.weights.layout_mast3r import file_name
from shared_files import GOLDEN, copied, needs_golden


@needs_golden
def test_all_recorded_numbers() -> None:
    results = list(run_suite("two-view", GOLDEN))
    wrong = [result for result in results if result.status != "passed"]
    assert not wrong, wrong
    titles = Counter(result.name.split(":")[0] for result in results)
    assert titles["mast3r_nano_forward"] == 24 and titles["dunemast3r_nano_forward"] == 16
    assert titles["mast3r_loss_expected"] == 29 and titles["reciprocal_matching"] == 6


def test_missing_files_are_named_and_not_counted(tmp_path: Path) -> None:
    results = list(run_suite("two-view", tmp_path))
    assert [result.status for result in results] == ["absent"] * len(PARTS)
    assert any("mast3r_*_released_layout.pth" in result.detail for result in results)


@needs_golden
def test_a_folder_with_half_of_a_suite(tmp_path: Path) -> None:
    folder = copied(tmp_path, "mast3r_nano_released_layout.pth", "mast3r_loss_inputs.safetensors")
    details = {result.detail for result in run_suite("two-view", folder) if result.status == "absent"}
    assert {"no mast3r_nano_forward.safetensors", "no mast3r_loss_expected.json"} <= details
    assert all(result.status == "absent" for result in run_suite("two-view", folder))


@needs_golden
def test_altered_numbers_fail(tmp_path: Path) -> None:
    folder = copied(
        tmp_path,
        "mast3r_loss_inputs.safetensors",
        "mast3r_loss_expected.json",
        "reciprocal_matching.safetensors",
    )
    expected = json.loads((folder / "mast3r_loss_expected.json").read_text())
    expected["full_mast3r"]["loss"] *= 1 + 5e-5
    expected["a_new_loss"] = expected["full_mast3r"]
    (folder / "mast3r_loss_expected.json").write_text(json.dumps(expected))
    tensors = load_file(folder / "reciprocal_matching.safetensors")
    tensors["subsample4/xy2"][10, 0] += 1
    save_file(tensors, folder / "reciprocal_matching.safetensors")
    failed = {
        result.name: result.detail for result in run_suite("two-view", folder) if result.status == "failed"
    }
    assert set(failed) == {
        "mast3r_loss_expected: full_mast3r/loss",
        "mast3r_loss_expected: a_new_loss",
        "reciprocal_matching: subsample4/xy2",
    }
    assert "known: conf_regr3d_avgdis" in failed["mast3r_loss_expected: a_new_loss"]


@needs_golden
def test_wrong_weights_and_images_fail(tmp_path: Path) -> None:
    folder = copied(tmp_path, "mast3r_nano_released_layout.pth", "mast3r_nano_forward.safetensors")
    recorded = load_file(folder / "mast3r_nano_forward.safetensors")
    recorded["64x64/image2"] += 1e-4
    save_file(recorded, folder / "mast3r_nano_forward.safetensors")
    failed = {
        result.name.split(": ")[1] for result in run_suite("two-view", folder) if result.status == "failed"
    }
    assert failed and all(name.startswith("64x64/") for name in failed)


def test_other_sizes_depths_heads_and_names(tmp_path: Path) -> None:
    """A folder of the same layout with another architecture, recorded from this implementation."""
    config = TwoViewConfig(
        encoder_dim=40,
        patch_size=8,
        fresh_norm=False,
        dim=24,
        depth=5,
        num_heads=3,
        level_dims=(4, 6, 8, 10),
        fusion_dim=12,
        middle_dim=6,
        last_dim=7,
        descriptor_dim=9,
    )
    vit = ViTConfig(
        dim=40,
        depth=3,
        num_heads=5,
        patch_size=8,
        image_size=32,
        has_cls=False,
        has_mask_token=False,
        layer_scale=None,
        position="rope",
    )
    generator = torch.Generator().manual_seed(3)
    listing = mast3r_listing(config, vit)
    model = {name: 0.2 * torch.randn(listing[name], generator=generator) for name in sorted(listing)}
    for name in [name for name in model if ".layer_rn." in name]:
        level = int(name.split(".layer_rn.")[1][0])
        model[name] = model[name.replace(f"layer_rn.{level}", f"layer{level + 1}_rn")]
    text = (
        "AsymmetricMASt3R(output_mode='pts3d+desc9', enc_num_heads=5, dec_num_heads=3, img_size=(32, 48), "
        "depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), desc_conf_mode=('exp', 0, inf), two_confs=True)"
    )
    checkpoint = {"model": model, "args": argparse.Namespace(model=text)}
    torch.save(checkpoint, tmp_path / "mast3r_other_released_layout.pth")
    encoder = ViTEncoder(vit).eval()
    encoder.load_state_dict({name: model[file_name(name)] for name in encoder.state_dict()})
    head = read_two_view("x", checkpoint).build()
    images = torch.randn(2, 3, 24, 40, generator=generator), torch.randn(2, 3, 32, 16, generator=generator)
    with torch.no_grad():
        views = head(*(encoder.encode(image) for image in images))
    recorded = {"a/image1": images[0], "a/image2": images[1]}
    for view, prediction in enumerate(views, start=1):
        points = "pts3d" if view == 1 else "pts3d_in_other_view"
        recorded |= {
            f"a/view{view}/{points}": prediction.points,
            f"a/view{view}/desc": prediction.descriptors,
        }
    save_file({k: v.contiguous() for k, v in recorded.items()}, tmp_path / "mast3r_other_forward.safetensors")
    results = [result for result in run_suite("two-view", tmp_path) if result.status != "absent"]
    assert len(results) == 4 and all(result.status == "passed" for result in results), results


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "mast3r_x_released_layout.pth").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "mast3r_x_forward.safetensors").write_bytes(b"")
    with pytest.raises(CodistillError, match=r"mast3r_x_released_layout\.pth"):
        list(run_suite("two-view", tmp_path))
