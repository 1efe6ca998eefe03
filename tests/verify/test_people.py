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
from codistill.heads.human_mesh.cells import PersonCells
from codistill.heads.human_mesh.load import read_human_mesh
from codistill.heads.human_mesh.names import to_released
from codistill.heads.human_mesh.network import HumanMeshConfig, HumanMeshHead
from codistill.nn.vit import ViTConfig
from codistill.verify.people import PARTS, published_outputs
from codistill.verify.suite import run_suite
from shared_files import GOLDEN, copied, needs_golden

NETWORK = ("multihmr_nano_released_layout.pt", "multihmr_nano_forward.safetensors")
METRICS = ("hmr_metrics_inputs.safetensors", "hmr_metrics_expected.json")


@needs_golden
def test_all_recorded_numbers() -> None:
    results = list(run_suite("people", GOLDEN))
    wrong = [result for result in results if result.status != "passed"]
    assert not wrong, wrong
    titles = Counter(result.name.split(":")[0] for result in results)
    assert titles == {"multihmr_nano_forward": 11, "hmr_metrics_expected": 34}


def test_missing_files_are_named_and_not_counted(tmp_path: Path) -> None:
    results = list(run_suite("people", tmp_path))
    assert [result.status for result in results] == ["absent"] * len(PARTS)
    assert "multihmr_*_released_layout.pt" in results[0].detail


@needs_golden
def test_half_of_a_suite(tmp_path: Path) -> None:
    folder = copied(tmp_path, NETWORK[0], METRICS[0])
    results = list(run_suite("people", folder))
    assert [result.status for result in results] == ["absent", "absent"]
    assert {result.detail for result in results} == {f"no {NETWORK[1]}", f"no {METRICS[1]}"}


@needs_golden
def test_altered_numbers_fail(tmp_path: Path) -> None:
    folder = copied(tmp_path, *METRICS, *NETWORK)
    expected = json.loads((folder / METRICS[1]).read_text())
    expected["images"][0]["matches_pred_gt"].reverse()
    expected["f1"] = 69.0
    expected["pa_pve_mm_per_match"][3] *= 1.0 + 2e-4
    (folder / METRICS[1]).write_text(json.dumps(expected))
    recorded = load_file(folder / NETWORK[1])
    recorded["K"][0, 0, 0] *= 1.001
    recorded["out/new"] = torch.zeros(1)
    save_file(recorded, folder / NETWORK[1])
    failed = {
        result.name.split(": ")[1]: result.detail
        for result in run_suite("people", folder)
        if result.status == "failed"
    }
    assert {"image 0/matches_pred_gt", "f1", "pa_pve_mm_per_match", "out/dist", "out/new"} <= set(failed)
    assert "out/scores" not in failed and "out/offset" not in failed
    assert "got [[0, 2], [2, 1], [1, 0]], expected [[1, 0]" in failed["image 0/matches_pred_gt"]


def test_other_sizes_heads_and_names(tmp_path: Path) -> None:
    """A folder of the same layout with another architecture, recorded from this implementation."""
    vit = ViTConfig(
        dim=64, depth=1, num_heads=1, patch_size=14, image_size=84, has_mask_token=True, layer_scale=1.0
    )
    config = HumanMeshConfig(
        encoder_dim=64,
        patch_size=14,
        n_rot=7,
        n_shape=3,
        n_expression=4,
        table_size=6,
        dim=32,
        depth=2,
        num_heads=2,
        head_dim=8,
        hidden=40,
        num_bands=3,
        max_resolution=16.0,
        fresh_norm=False,
        swapped_rays=True,
    )
    generator = torch.Generator().manual_seed(3)
    encoder = ViTEncoder(vit).eval()
    head = HumanMeshHead(config)
    model = {f"backbone.encoder.{name}": t.detach() for name, t in encoder.state_dict().items()}
    for name, tensor in head.state_dict().items():
        model[to_released(name)] = 0.3 * torch.randn(tensor.shape, generator=generator)
    arguments = argparse.Namespace(img_size=84, xat_num_heads=2, camera_embedding_max_resolution=16)
    checkpoint = {"model_state_dict": model, "args": arguments}
    torch.save(checkpoint, tmp_path / "multihmr_other_released_layout.pt")
    image = torch.randn(2, 3, 84, 84, generator=generator)
    k = torch.tensor([[70.0, 0, 45], [0, 90, 38], [0, 0, 1]]).repeat(2, 1, 1)
    index = torch.tensor([1, 0, 1]), torch.tensor([0, 2, 5]), torch.tensor([3, 3, 1])
    centred = k - torch.tensor([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    with torch.no_grad():
        made = read_human_mesh("x", checkpoint).build()
        outputs = published_outputs(made(encoder.encode(image), centred, PersonCells.of(*index)))
    recorded = {"image": image, "K": k, "person_image_index": index[0], "person_row": index[1]}
    recorded |= {"person_col": index[2]} | outputs
    save_file(
        {k: v.contiguous() for k, v in recorded.items()}, tmp_path / "multihmr_other_forward.safetensors"
    )
    results = [result for result in run_suite("people", tmp_path) if result.status != "absent"]
    assert len(results) == len(outputs) and all(result.status == "passed" for result in results), results


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "multihmr_x_released_layout.pt").write_bytes(b"PK\x03\x04 nothing")
    save_file({"K": torch.zeros(1)}, tmp_path / "multihmr_x_forward.safetensors")
    with pytest.raises(CodistillError, match=r"multihmr_x_released_layout\.pt"):
        list(run_suite("people", tmp_path))
