"""Export folders: bit for bit there and back, whole or not at all."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from codistill.errors import CheckpointError
from codistill.nn.vit import ViTConfig
from codistill.version import __version__
from codistill.weights import export
from codistill.weights.contents import EncoderWeights, StudentWeights
from codistill.weights.export import describe_export, is_export, read_export, write_export
from codistill.weights.layouts import read_weights
from codistill.weights.vit import expected_shapes
from shared_files import golden

CONFIG = ViTConfig(dim=64, depth=2, num_heads=4, patch_size=7, image_size=28, num_registers=1, hidden=40)


def encoder(dtype: torch.dtype = torch.float32) -> EncoderWeights:
    """Odd values of every field, so that none can be a default by accident."""
    config = replace(CONFIG, position_offset=0.0, position_antialias=True, layer_scale=0.5, drop_path=0.1)
    generator = torch.Generator().manual_seed(3)
    tensors = {n: torch.randn(s, generator=generator).to(dtype) for n, s in expected_shapes(config).items()}
    return EncoderWeights(
        config=config,
        tensors=tensors,
        layout="DINOv2",
        name="odd",
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
        licence="MIT",
        extra={"args": {"lr": 1e-3, "path": Path("/x"), "inf": float("inf")}},
    )


def student() -> StudentWeights:
    odd = torch.tensor([torch.finfo(torch.float32).max, torch.finfo(torch.float32).tiny, -0.0, 1e-40])
    return StudentWeights(
        encoder=encoder(),
        projectors={
            "tp": {"blocks.0.norm1.weight": torch.randn(64), "linear.weight": torch.randn(4, 64)},
            "ladder": {"patch.1.layers.2.weight": torch.randn(5, 8)},
        },
        statistics={
            "tp": {"cls": (odd, torch.rand(4)), "patch": (torch.rand(4), torch.rand(4))},
            "ladder": {},
        },
        teachers=(
            {"name": "tp", "dim": 4, "kinds": ["cls", "patch"], "licence": "MIT", "domain": "generic"},
            {"name": "ladder", "dim": 5, "kinds": ["patch"], "licence": "CC0", "domain": "human"},
        ),
        proj_args={"num_heads": 2},
        iteration=70,
        recipe={"name": "mine", "lr": 1e-4},
        std_floor=0.25,
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_an_encoder_comes_back_bit_for_bit(tmp_path, dtype: torch.dtype) -> None:
    original = encoder(dtype)
    folder = write_export(
        tmp_path / "deep" / "export", original, recipe={"name": "r"}, teachers=[{"name": "t"}]
    )
    read = read_export(folder)
    assert isinstance(read, EncoderWeights)
    assert (read.config, read.name, read.mean, read.std, read.licence) == (
        original.config,
        original.name,
        original.mean,
        original.std,
        original.licence,
    )
    assert {n: bits(t) for n, t in read.tensors.items()} == {n: bits(t) for n, t in original.tensors.items()}
    assert read.extra["recipe"] == {"name": "r"} and read.extra["teachers"] == [{"name": "t"}]
    assert names(folder) == ["config.json", "encoder.safetensors"]
    assert names(folder.parent) == ["export"]  # nothing temporary is left


def test_a_student_comes_back_bit_for_bit_and_twice_gives_the_same_bytes(tmp_path) -> None:
    original = student()
    original = replace(
        original, statistics={**original.statistics, "ladder": {"patch": (torch.rand(5),) * 2}}
    )
    read = read_export(write_export(tmp_path / "one", original))
    assert isinstance(read, StudentWeights)
    for name, projector in original.projectors.items():
        assert {n: bits(t) for n, t in read.projectors[name].items()} == {
            n: bits(t) for n, t in projector.items()
        }
        for kind, pair in original.statistics[name].items():
            assert [bits(t) for t in read.statistics[name][kind]] == [bits(t) for t in pair]
    assert read.teachers == original.teachers and read.std_floor == 0.25
    assert (read.proj_args, read.iteration, read.recipe) == (
        original.proj_args,
        original.iteration,
        original.recipe,
    )
    write_export(tmp_path / "two", read)
    for file in ("encoder.safetensors", "projectors.safetensors"):
        one, two = load_file(tmp_path / "one" / file), load_file(tmp_path / "two" / file)
        assert {n: bits(t) for n, t in one.items()} == {n: bits(t) for n, t in two.items()}


def test_an_export_that_does_not_say_the_floor_has_its_recipe_s(tmp_path) -> None:
    weights = replace(student(), recipe={"distill": {"targets": {"std_floor": 0.5}}})
    weights = replace(weights, statistics={**weights.statistics, "ladder": {"patch": (torch.rand(5),) * 2}})
    config = write_export(tmp_path / "old", weights) / "config.json"
    said = json.loads(config.read_text())
    config.write_text(json.dumps({key: value for key, value in said.items() if key != "std_floor"}))
    read = read_export(tmp_path / "old")
    assert isinstance(read, StudentWeights) and read.std_floor == 0.5


def test_a_released_student_survives_conversion(tmp_path) -> None:
    released = read_weights(golden("dune_nano_released_layout.pth"))
    read = read_weights(write_export(tmp_path / "export", released))
    assert isinstance(released, StudentWeights) and isinstance(read, StudentWeights)
    assert read.encoder.config == released.encoder.config and read.proj_args == released.proj_args
    for name, tensor in released.encoder.tensors.items():
        assert torch.equal(read.encoder.tensors[name], tensor)
    assert [t["name"] for t in read.teachers] == [t["name"] for t in released.teachers]


def test_the_config_says_what_a_reader_needs(tmp_path) -> None:
    said = json.loads((write_export(tmp_path / "export", student()) / "config.json").read_text())
    assert said["architecture"]["num_registers"] == 1 and said["normalization"]["mean"] == [0.1, 0.2, 0.3]
    assert said["codistill_version"] == __version__ and said["recipe"]["name"] == "mine"
    assert [teacher["licence"] for teacher in said["teachers"]] == ["MIT", "CC0"]
    assert said["source"]["args"] == {"lr": 1e-3, "path": "/x", "inf": "inf"}
    assert said["num_parameters"] == sum(t.numel() for t in encoder().tensors.values())


def test_other_folders_are_never_replaced(tmp_path) -> None:
    folder = write_export(tmp_path / "export", encoder())
    with pytest.raises(CheckpointError, match=r"exists already.*overwrite=True"):
        write_export(folder, encoder())
    write_export(folder, encoder(torch.float16), overwrite=True)
    assert load_file(folder / "encoder.safetensors")["cls_token"].dtype == torch.float16
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"is no export \(it holds notes\.txt\)"):
        write_export(folder, encoder(), overwrite=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "file").write_text("x")
    for other in ("photos", "file"):
        with pytest.raises(CheckpointError, match="is no export"):
            write_export(tmp_path / other, encoder(), overwrite=True)


def test_a_failed_write_leaves_the_old_export_and_no_debris(tmp_path, monkeypatch) -> None:
    folder = write_export(tmp_path / "export", encoder())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "write_json", full)
    with pytest.raises(CheckpointError, match=r"export: cannot be written \(No space left"):
        write_export(folder, encoder(torch.float16), overwrite=True)
    assert names(tmp_path) == ["export"]
    assert load_file(folder / "encoder.safetensors")["cls_token"].dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format_version": 99}, "version 99; this version of codistill reads.*upgrade"),
        ({"architecture": {"dim": 64, "wings": 2}}, "unknown architecture fields wings; allowed: "),
        ({"architecture": {"dim": 64}}, "wrong architecture"),
        ({"architecture": None}, "misses 'architecture'"),
        ({"normalization": {"mean": [0.5]}}, r"normalization\.mean must be three numbers; got \[0\.5\]"),
    ],
)
def test_a_config_that_does_not_fit_is_explained(tmp_path, change: dict, said: str) -> None:
    folder = write_export(tmp_path / "export", encoder())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(CheckpointError, match=rf"config\.json: .*{said}"):
        read_export(folder)


def test_tensors_that_do_not_fit_the_config_are_named(tmp_path) -> None:
    folder = write_export(tmp_path / "export", encoder())
    config = json.loads((folder / "config.json").read_text())
    config["architecture"]["depth"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"encoder\.safetensors: missing keys: blocks\.2\."):
        read_export(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json: damaged JSON"):
        read_weights(folder)
    (folder / "config.json").unlink()
    assert is_export(folder)
    with pytest.raises(CheckpointError, match=r"config\.json: no such file"):
        read_weights(folder)


def test_a_folder_of_another_library_gets_a_hint(tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "dinov2"}')
    with pytest.raises(CheckpointError, match=r"load it as hf:"):
        read_weights(tmp_path)


def test_describe_is_plain_json() -> None:
    described = describe_export(student())
    assert json.loads(json.dumps(described, allow_nan=False)) == described  # no tuples, no tensors, no NaN
