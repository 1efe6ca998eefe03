"""`codistill inspect` on every kind of thing, read as a user would."""

import json
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from codistill.cli import main as codistill_main
from codistill.commands.convert import main as convert
from codistill.commands.inspect import describe, main
from codistill.encoders.load import load_encoder
from codistill.encoders.vit import ViTEncoder
from codistill.errors import CheckpointError, ConfigError, DataError
from codistill.nn.vit import ViTConfig
from codistill.programs.record import Check, Port, ProgramRecord
from codistill.student.projectors import ProjectorConfig
from codistill.student.student import Student
from codistill.tasks.shared.head_files import TENSORS
from codistill.types import TargetSpec
from codistill.weights.contents import EncoderWeights, StudentWeights
from codistill.weights.export import write_export
from codistill.weights.read import read_checkpoint
from codistill.weights.shipped import shipped_models
from shared_files import GOLDEN, needs_golden


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def said(capsys, *argv: object) -> str:
    assert main([str(part) for part in argv]) == 0
    return capsys.readouterr().out


def said_json(capsys, *argv: object) -> dict:
    return json.loads(said(capsys, *argv, "--json"))


def test_buffers_of_a_head_are_no_parameters() -> None:
    heads = shipped_models()["dune-tiny"] / "heads"
    assert (
        describe(str(heads / "segmentation"))["parameters"] == 2 * 192 + (192 + 1) * 40
    )  # batch norm, linear
    people = sum(tensor.numel() for tensor in read_checkpoint(heads / "people" / TENSORS).values())
    assert describe(str(heads / "people"))["parameters"] == people - 3 - 444 - 6  # start: camera, pose, shape


def test_statistics_of_batch_norm_are_no_parameters() -> None:
    tensors = torch.nn.BatchNorm2d(6).state_dict(prefix="stem.bn1.")
    weights = EncoderWeights(
        config=ViTConfig(dim=6, depth=1, num_heads=1), tensors=tensors, layout="", name=""
    )
    assert weights.num_parameters == 2 * 6


@needs_golden
def test_a_student(capsys) -> None:
    text = said(capsys, GOLDEN / "dune_nano_released_layout.pth")
    for part in (
        "DUNE / UNIC student",
        "128 wide, 2 blocks, 2 heads",
        "4 registers",
        "mean 0.485",
        "non-commercial",
    ):
        assert part in text
    described = said_json(capsys, GOLDEN / "dune_nano_released_layout.pth")
    total = sum(t.numel() for t in load_encoder(GOLDEN / "dune_nano_released_layout.pth").parameters())
    assert described["parameters"] == total and described["iteration"] == 7
    assert [teacher["kinds"] for teacher in described["teachers"]] == ["cls+patch", "patch", "patch"]


@pytest.mark.parametrize("kind", ["transformer", "ladder", "mlp", "ln_mlp"])
def test_projectors_are_called_what_they_are(kind: str, tmp_path: Path, capsys) -> None:
    """All but the transformer were called ladders."""
    vit, config = ViTConfig(dim=32, depth=1, num_heads=2, image_size=28), ProjectorConfig(kind=kind)
    made = Student(ViTEncoder(vit), (TargetSpec(name="a", dim=12),), config)
    weights = StudentWeights(
        encoder=EncoderWeights(config=vit, tensors=made.encoder.state_dict(), layout="test", name="s"),
        projectors={"a": dict(made.projectors["a"].state_dict())},
        statistics={},
        teachers=({"name": "a", "dim": 12, "kinds": ["cls", "patch"]},),
        proj_args={**config.__dict__},
    )
    described = said_json(capsys, write_export(tmp_path / "export", weights))
    count = sum(p.numel() for p in made.projectors.parameters())
    assert described["teachers"][0]["projector"] == f"{kind}, {count:,}"


@needs_golden
def test_files_without_an_encoder_are_listed(capsys) -> None:
    text = said(capsys, GOLDEN / "dunemast3r_nano_released_layout.pth")
    assert "two-view decoder for the encoder 'dune_nano_encoder'" in text and "729" in text
    assert "num_heads" in said(capsys, GOLDEN / "multihmr_nano_released_layout.pt")
    assert "3 heads" in said(capsys, GOLDEN / "multihmr_nano_released_layout.pt", "--num-heads", 3)


def test_any_tensors_and_their_names(tmp_path, capsys) -> None:
    save_file({f"part{i}.w": torch.zeros(2, 3) for i in range(20)}, tmp_path / "any.safetensors")
    assert "8 more (--keys lists all)" in said(capsys, tmp_path / "any.safetensors")
    tensors = said_json(capsys, tmp_path / "any.safetensors", "--keys")["tensors"]
    assert len(tensors) == 20 and tensors[0] == {"tensor": "part0.w", "shape": "2x3", "dtype": "float32"}


def test_known_names(capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("CODISTILL_CACHE", str(tmp_path))
    monkeypatch.delenv("CODISTILL_WEIGHTS", raising=False)
    assert "dune_vitsmall_14_448" in said(capsys)
    known = said_json(capsys, "dino2reg_vitlarge_14")
    assert (
        known["licence"] == "Apache-2.0"
        and known["url"].startswith("https://")
        and "no (" in known["on this machine"]
    )
    save_file(load_encoder("random:vit_tiny").state_dict(), tmp_path / "dinov2_vits14.safetensors")
    assert said_json(capsys, "dinov2_vits14")["path"] == str(tmp_path / "dinov2_vits14.safetensors")
    with pytest.raises(CheckpointError, match=r"dinov2_vits13: no such file.*Did you mean 'dinov2_vits14'"):
        main(["dinov2_vits13"])


def test_other_kinds_of_encoder(capsys) -> None:
    spec = said_json(capsys, "random:vit_tiny")
    assert (spec["dim"], spec["patch_size"]) == (192, 14) and spec["parameters"] > 5e6


def test_the_hash_is_compared_with_the_published_ones(tmp_path, capsys) -> None:
    save_file(load_encoder("random:vit_tiny").state_dict(), tmp_path / "a.safetensors")
    described = said_json(capsys, tmp_path / "a.safetensors", "--hash")
    assert len(described["sha256"]) == 64 and described["published file"] == "none with this SHA-256"


@pytest.mark.parametrize("what", [["random:vit_tiny"], []])
@pytest.mark.parametrize("option", ["--hash", "--keys"])
def test_what_an_option_asks_for_is_told_or_refused(what: list[str], option: str) -> None:
    with pytest.raises(
        ConfigError, match=f"{option} would have no effect on {what[0] if what else 'the list'}"
    ):
        main([*what, option])


def test_options_that_nothing_reads_are_refused(tmp_path: Path) -> None:
    (tmp_path / "world.json").write_text("{}")
    for argv, name in (
        (["--num-heads", "3"], "num_heads"),
        (["random:vit_tiny", "--num-heads", "3"], "num_heads"),
        ([str(tmp_path), "--num-heads", "3"], "num_heads"),
        (["dune-tiny,window=4"], "window"),
    ):
        with pytest.raises(ConfigError, match=f"{name} would have no effect on"):
            main(argv)


def test_manifests_and_shards(tmp_path, capsys) -> None:
    pq.write_table(pa.table({"folder": ["a", "b"], "file": ["1.jpg", "2.jpg"]}), tmp_path / "list.parquet")
    described = said_json(capsys, tmp_path / "list.parquet")
    assert described["rows"] == 2 and described["columns"] == {"folder": "string", "file": "string"}
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for name in ("0001.jpg", "0001.json", "0002.jpg"):
            (tmp_path / name).write_bytes(b"xyz")
            archive.add(tmp_path / name, f"photos/{name}")
    described = said_json(capsys, tmp_path / "shard.tar")
    assert (described["samples"], described["files"], described["bytes"]) == (2, 3, 9)
    assert described["endings"] == {".jpg": 2, ".json": 1}
    with tarfile.open(tmp_path / "shard.tar") as archive:
        second = archive.getmembers()[1].offset
    cut = (tmp_path / "shard.tar").read_bytes()[:second]  # tarfile takes this for a whole archive
    (tmp_path / "shard.tar").write_bytes(cut)
    with pytest.raises(DataError, match=r"shard\.tar: cut short or damaged"):
        main([str(tmp_path / "shard.tar")])
    for name, text in (("list.parquet", "damaged"), ("shard.tar", "not a whole tar file")):
        (tmp_path / name).write_bytes(b"damaged")
        with pytest.raises(DataError, match=f"{name}: {text}"):
            main([str(tmp_path / name)])


def test_convert_then_inspect(tmp_path, capsys) -> None:
    file = tmp_path / "mine.safetensors"
    original = load_encoder("random:vit_tiny,image_size=28")
    save_file(original.state_dict(), file)
    assert (
        convert(
            [
                f"{file},like=dinov2,image_size=56",
                "--out",
                str(tmp_path / "out"),
                "--licence",
                "MIT",
                "--name",
                "x",
            ]
        )
        == 0
    )
    assert "licence: MIT" in capsys.readouterr().out
    described = said_json(capsys, tmp_path / "out")
    assert (described["layout"], described["name"], described["native image size"]) == (
        "codistill export",
        "x",
        56,
    )
    with pytest.raises(CheckpointError, match="--overwrite"):
        convert([f"{file},like=dinov2", "--out", str(tmp_path / "out")])
    assert convert([f"{file},like=dinov2", "--out", str(tmp_path / "out"), "--overwrite"]) == 0
    loaded = load_encoder(tmp_path / "out")
    for name, tensor in original.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_converted_weights_keep_the_options_of_their_name(tmp_path, capsys) -> None:
    assert convert(["generic-tiny,window=4,image_size=112", "--out", str(tmp_path / "out")]) == 0
    loaded, images = load_encoder(tmp_path / "out"), torch.randn(1, 3, 112, 112)
    assert (loaded.config.window, loaded.config.image_size) == (4, 112)
    expected = load_encoder("generic-tiny,window=4,image_size=112")(images).patches
    assert torch.equal(loaded(images).patches, expected)
    assert not torch.equal(load_encoder("generic-tiny,image_size=112")(images).patches, expected)


def test_an_encoder_has_no_projectors_to_leave_out(tmp_path) -> None:
    with pytest.raises(ConfigError, match="generic-tiny has no projectors to leave out"):
        convert(["generic-tiny", "--encoder-only", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@needs_golden
def test_convert_a_student_with_and_without_projectors(tmp_path, capsys) -> None:
    file = GOLDEN / "dune_nano_released_layout.pth"
    convert([str(file), "--out", str(tmp_path / "whole")])
    convert([str(file), "--out", str(tmp_path / "encoder"), "--encoder-only"])
    capsys.readouterr()
    assert said_json(capsys, tmp_path / "whole")["teachers"][0]["name"] == "dino2reg_vitlarge_14"
    assert "projector parameters" not in said_json(capsys, tmp_path / "encoder")
    images = torch.randn(1, 3, 56, 56)
    with torch.inference_mode():
        expected = load_encoder(file)(images).patches
        for folder in ("whole", "encoder"):
            assert torch.equal(load_encoder(tmp_path / folder)(images).patches, expected)


def test_a_world_and_a_folder_of_features(tmp_path, capsys) -> None:
    """What a world and an extraction leave is described, and not taken for weights."""
    world = tmp_path / "w"
    for split, shards in (("train", 2), ("test", 1)):
        folder = world / "objects" / split
        folder.mkdir(parents=True)
        for number in range(shards):
            (folder / f"shard-{number:06d}.tar").write_bytes(b"x" * 10)
    classes = [f"c{i}" for i in range(40)]
    (world / "world.json").write_text(
        json.dumps(
            {"format": 2, "images": 30, "size": 112, "seed": 0, "domains": ["objects"], "classes": classes}
        )
    )
    described = said_json(capsys, world)
    assert (described["kind"], described["images"], described["size"]) == ("embedded world", 30, 112)
    assert described["splits"] == [
        {"domain": "objects", "split": "test", "shards": 1, "bytes": 10},
        {"domain": "objects", "split": "train", "shards": 2, "bytes": 20},
    ]
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in "ab":
        Image.new("RGB", (30, 20)).save(photos / f"{name}.png")
    out = tmp_path / "features"
    argv = ["extract", str(photos), "--encoder", "random:vit_tiny,image_size=28", "--out", str(out)]
    assert codistill_main([*argv, "--size", "28", "--device", "cpu", "--workers", "0"]) == 0
    capsys.readouterr()
    described = said_json(capsys, out)
    assert described["kind"] == "extracted features" and described["images there"] == 2
    assert described["encoder"] == "random:vit_tiny,image_size=28" and described["first images"] == [
        "a.png",
        "b.png",
    ]
    (out / "index.parquet").unlink()
    next(out.glob("shard_*.safetensors")).unlink()
    assert "1 of 1 shards" in said_json(capsys, out)["missing"]


def test_an_exported_file_says_what_it_holds(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Nothing of it is run: a compiled package is code."""
    with zipfile.ZipFile(tmp_path / "e.pt2", "w") as archive:
        port = Port(name="images", axes=("batch", 3, "rows*14", "columns*14"))
        record = ProgramRecord(
            kind="encoder",
            source="e",
            name="e",
            licence="CC0",
            patch_size=14,
            format="aoti",
            precision="fp32",
            inputs=(port,),
            outputs=(Port(name="cls", axes=("batch", 8)),),
            checks=(Check(output="cls", largest=2e-6, mean=1e-7),),
        )
        archive.writestr("e/extra/codistill.json", record.to_json())
    assert main([str(tmp_path / "e.pt2")]) == 0
    shown = capsys.readouterr().out
    assert "CC0" in shown and "rows*14" in shown and "2e-06" in shown


def test_a_name_that_a_model_which_ships_nearly_has() -> None:
    with pytest.raises(CheckpointError, match="Did you mean 'dune-tiny'"):
        describe("dune-tinny")


def test_of_a_recipe_the_table_shows_no_parts(capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "dune-tiny")
    assert "--json" in shown and "blur_sigma" not in shown and len(shown.splitlines()) < 40
    assert said_json(capsys, "dune-tiny")["recipe"]["augment"]["blur_sigma"]
