"""Released Multi-HMR files: names both ways, licensed tensors left out, what is refused and how, partial starts."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from people_toys import ARGUMENTS, RELEASED, made_cameras, made_cells, made_head, made_tokens, released

from codistill.bodies.base import IDENTITY_6D
from codistill.errors import CheckpointError
from codistill.heads.human_mesh.load import initialize, read_human_mesh
from codistill.heads.human_mesh.names import is_unused, to_ours, to_released
from codistill.heads.human_mesh.network import HumanMeshHead


def read(checkpoint: dict[str, Any]) -> Any:
    return read_human_mesh("file.pt", checkpoint)


def test_names_both_ways() -> None:
    names = list(HumanMeshHead(RELEASED).state_dict())
    assert [to_ours(to_released(name)) for name in names] == names
    assert to_released("layers.1.cross_attention.proj.bias") == (
        "x_attention_head.transformer.transformer.layers.1.1.fn.to_out.0.bias"
    )
    assert to_released("tables.value_columns") == "x_attention_head.cross_values_y"
    assert to_ours("x_attention_head.transformer.transformer.layers.0.3.norm.weight") is None
    assert to_ours("mlp_classification.0.weight") is None
    assert is_unused("smpl_layer.neutral_10.bm_x.weights") and not is_unused("smpl.weights")


def test_a_file_reads_without_licensed_tensors() -> None:
    weights = read(released())
    assert weights.config == RELEASED
    assert not any("smpl" in name for name in weights.tensors)
    assert sorted(weights.unused) == [
        "backbone.encoder.patch_embed.proj.weight",
        "smpl_layer.neutral_10.bm_x.v_template",
        "smpl_layer.neutral_11.bm_x.faces_tensor",
        "x_attention_head.init_betas_kid",
    ]
    head = weights.build()
    assert not head.training and head.pose.weight.dtype == torch.float32
    people = head(replace(made_tokens(), normed=True), made_cameras(), made_cells()).people
    assert people.rotmat.shape == (5, 53, 3, 3) and people.expression.shape == (5, 10)


def test_what_a_file_does_not_say_is_as_published() -> None:
    config = replace(RELEASED, head_dim=32, max_resolution=64.0)
    assert read(released(config)["model_state_dict"]).config == config
    wrapped = {f"module.{name}": tensor for name, tensor in released(config)["model_state_dict"].items()}
    assert read(wrapped).config == config
    assert read(released(args_none=None) | {"args": dict(ARGUMENTS)}).config == RELEASED


def test_missing_surplus_and_misshapen_tensors_are_named() -> None:
    checkpoint = released()
    model = checkpoint["model_state_dict"]
    del model["x_attention_head.deccam.bias"]
    with pytest.raises(
        CheckpointError, match=r"file\.pt: missing keys: x_attention_head\.deccam\.bias \(3,\)"
    ):
        read(checkpoint)
    model = (checkpoint := released())["model_state_dict"]
    model["mlp_fov.0.weight"] = model["classify.0.weight"] = torch.zeros(2, 2)
    with pytest.raises(
        CheckpointError, match=r"surplus keys: .*mlp_fov\.0\.weight \(2, 2\), classify\.0\.weight"
    ):
        read(checkpoint)
    model = (checkpoint := released())["model_state_dict"]
    model["x_attention_head.transformer.transformer.layers.1.2.fn.net.3.weight"] = torch.zeros(32, 41)
    text = r"layers\.1\.2\.fn\.net\.3\.weight' has shape \(32, 41\), expected \(32, 40\)"
    with pytest.raises(CheckpointError, match=text):
        read(checkpoint)


def test_other_files_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"holds no human-mesh head.*it holds blocks\.0\.norm1\.weight"):
        read({"blocks.0.norm1.weight": torch.zeros(3)})
    with pytest.raises(CheckpointError, match="trained with nearness=False; files with nearness=True"):
        read(released(nearness=False))
    with pytest.raises(CheckpointError, match="trained with camera_embedding=None"):
        read(released(camera_embedding=None))
    with pytest.raises(CheckpointError, match="xat_num_heads=7, which does not divide the 16 channels"):
        read(released(xat_num_heads=7))
    with pytest.raises(CheckpointError, match="camera_embedding_max_resolution='far', not a number"):
        read(released(camera_embedding_max_resolution="far"))
    model = (checkpoint := released())["model_state_dict"]
    model["x_attention_head.cross_queries_x"] = torch.zeros(6, 47)
    with pytest.raises(
        CheckpointError, match=r"sizes of its head do not go together: tokens of 24.*tables of 47"
    ):
        read(checkpoint)


def test_starting_a_head_for_the_same_encoder_and_body() -> None:
    head = HumanMeshHead(replace(RELEASED, fresh_norm=True))
    done = initialize(head, "file.pt", released())
    assert set(done.fresh) == {"norm.weight", "norm.bias"} and not done.resized
    torch.testing.assert_close(
        head.pose.weight, released()["model_state_dict"]["x_attention_head.decpose.weight"].float()
    )
    assert "smpl_layer.neutral_10.bm_x.v_template" in done.unused


def test_starting_a_head_for_another_encoder_body_and_image_size() -> None:
    config = replace(
        RELEASED, encoder_dim=40, n_rot=5, n_shape=2, n_expression=0, table_size=8, fresh_norm=True
    )
    head = HumanMeshHead(config)
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    done = initialize(head, "file.pt", released())
    assert {name for name in done.loaded if name.startswith("layers.0.")} == {
        name for name in before if name.startswith("layers.0.") and ".kv." not in name
    }
    for name in (
        "classify.0.weight",
        "embed.weight",
        "tables.query_rows",
        "layers.1.cross_attention.kv.weight",
    ):
        assert torch.equal(head.state_dict()[name], before[name])
    assert (
        done.fresh["embed.weight"] == f"(32, {RELEASED.query_dim}) in the file, (32, {config.query_dim}) here"
    )
    assert done.fresh["norm.weight"] == "not in the file"
    assert set(done.loaded) | set(done.fresh) | set(done.resized) == set(before)
    assert "x_attention_head.decexpression.weight" in done.unused


def test_tables_of_another_image_size_are_interpolated() -> None:
    head = HumanMeshHead(replace(RELEASED, table_size=12))
    done = initialize(head, "file.pt", released())
    assert (
        set(done.resized) == {name for name in head.state_dict() if name.startswith("tables.")}
        and not done.fresh
    )
    assert done.resized["tables.query_rows"] == "6 cells in the file, 12 here"
    table = released()["model_state_dict"]["x_attention_head.cross_queries_x"].float()
    # Of twice as many cells, the second lies a quarter of the way from the first old one to the second.
    torch.testing.assert_close(head.tables.query_rows[1].detach(), 0.75 * table[0] + 0.25 * table[1])


def test_the_degenerate_start_pose_is_taken_only_with_its_layer() -> None:
    checkpoint = released()
    start = torch.tensor([1.0, 0, 0, 1, 0, 0]).repeat(53)[None]
    checkpoint["model_state_dict"]["x_attention_head.init_body_pose"] = start
    same = HumanMeshHead(RELEASED)
    initialize(same, "file.pt", checkpoint)
    assert torch.equal(same.init_pose, start)
    broken = dict(checkpoint["model_state_dict"])
    del broken["x_attention_head.decpose.weight"]
    own = HumanMeshHead(RELEASED)
    done = initialize(own, "file.pt", {**checkpoint, "model_state_dict": broken})
    assert torch.equal(own.init_pose, torch.tensor(IDENTITY_6D).repeat(53)[None])
    assert "last pose layer, which is fresh" in done.fresh["init_pose"]
    other = HumanMeshHead(RELEASED)
    initialize(other, "file.pt", {**checkpoint, "model_state_dict": broken}, keep_start=False)
    assert torch.equal(other.init_pose, start)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"depth": 1}, "layers.1.+ is of a layer too many"),
        ({"depth": 3}, "layers.2.+ not in the file"),
        ({"dim": 64}, r"\(32,\) in the file, \(64,\) here"),
        ({"num_heads": 4, "head_dim": 4}, "has 2 attention heads"),
    ],
)
def test_layers_that_do_not_fit_change_nothing(config: dict[str, int], text: str) -> None:
    head = HumanMeshHead(replace(RELEASED, **config))
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    with pytest.raises(
        CheckpointError, match=f"its layers do not fit this head: .*{text}.*Change the head's config"
    ):
        initialize(head, "file.pt", released())
    assert all(torch.equal(tensor, before[name]) for name, tensor in head.state_dict().items())


def test_our_own_head_is_no_released_file() -> None:
    with pytest.raises(CheckpointError, match="holds no human-mesh head"):
        read(dict(made_head().state_dict()))
