"""Heads on disk: what they stand on is found from any folder, and after a move together with it."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from codistill.errors import CheckpointError, ConfigError
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.head_files import (
    OWN_ENCODER,
    EncoderFacts,
    HeadData,
    HeadRecord,
    read_record,
    write_head,
)

FACTS = EncoderFacts(name="tiny", licence="none", channels=48, patch_size=14)


def write(folder: Path, encoder: str, spec: str) -> None:
    record = HeadRecord(
        task="segmentation",
        features=FeatureConfig(encoder=encoder),
        data=HeadData(spec=spec, samples=4, classes=("sky", "sea")),
        encoder=FACTS,
        test={"size": 42},
    )
    write_head(folder, record, {"x": torch.zeros(1)}, [])


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """The current folder, with an encoder, a data set and two ways to write where they are."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "enc.pth").touch()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("encoder", "spec"),
    [("enc.pth", "ade20k:data"), ("./enc.pth,num_heads=3", "data"), ("../project/enc.pth", "world:./data")],
)
def test_relative_places_are_found_from_anywhere_and_after_a_move(
    project, monkeypatch, tmp_path, encoder, spec
) -> None:
    write(Path("head"), encoder, spec)
    monkeypatch.chdir(tmp_path)
    options, kind = encoder.partition(",")[1:], spec.partition(":")[0] + ":" if ":" in spec else ""
    record = read_record(project / "head")
    assert record.features.encoder == str(project / "enc.pth") + "".join(options)
    assert record.data.spec == f"{kind}{project / 'data'}"

    shutil.move(project, tmp_path / "moved")
    record = read_record(Path("moved/head"))
    assert record.features.encoder == str(tmp_path / "moved" / "enc.pth") + "".join(options)
    assert record.data.spec == f"{kind}{tmp_path / 'moved' / 'data'}"

    shutil.move(tmp_path / "moved" / "head", tmp_path / "alone")
    assert read_record(tmp_path / "alone").features.encoder.startswith(str(project / "enc.pth"))


@pytest.mark.parametrize(
    ("encoder", "spec"),
    [
        ("dinov2_vits14", "voc:nowhere"),
        ("timm:data", "ade20k:~/data"),
        ("random:vit_tiny,dim=32", "world:$HOME/data"),
        ("~/enc.pth", "/data"),
        ("baseline:colour", "~/data"),
    ],
)
def test_names_and_places_that_mean_the_same_anywhere_stay(project, encoder, spec) -> None:
    write(Path("head"), encoder, spec)
    record = read_record(Path("head"))
    assert (record.features.encoder, record.data.spec) == (encoder, spec)


def test_an_encoder_of_the_head_s_own_moves_with_it(project) -> None:
    write(Path("head"), OWN_ENCODER, "voc:data")
    shutil.move("head", "other")
    assert Path(read_record(Path("other")).features.encoder) == Path("other/encoder")


@dataclass(frozen=True)
class Protocol:
    size: int
    crop: int = 7


def test_what_every_head_says_is_typed_and_the_task_s_own_is_read_by_its_class(project) -> None:
    write(Path("head"), "enc.pth", "voc:data")
    record = read_record(Path("head"), "segmentation")
    assert record.data == HeadData(spec=f"voc:{project / 'data'}", samples=4, classes=("sky", "sea"))
    assert record.encoder == FACTS and record.own("test", Protocol) == Protocol(42)
    with pytest.raises(ConfigError, match=r"head/head\.json: test\.size is missing"):
        replace(record, test={}).own("test", Protocol)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format_version": 1}, "is no head of this version"),
        ({"data": {"spec": "voc:data", "images": 4}}, r"data\.images"),
        (
            {"encoder": {"name": "tiny", "licence": "none", "channels": "48", "patch_size": 14}},
            "encoder.channels",
        ),
    ],
)
def test_damaged_and_older_records_are_refused(project, change, said) -> None:
    write(Path("head"), "enc.pth", "voc:data")
    plain = json.loads(Path("head/head.json").read_text())
    Path("head/head.json").write_text(json.dumps({**plain, **change}))
    with pytest.raises(CheckpointError, match=said):
        read_record(Path("head"))


def test_a_folder_of_save_pretrained_is_found_from_anywhere(project, monkeypatch) -> None:
    write(Path("head"), "hf:./data", "voc:data")
    monkeypatch.chdir("/")
    assert read_record(project / "head").features.encoder == f"hf:{project / 'data'}"
