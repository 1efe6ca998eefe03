"""A head stays on the encoder that it was fitted on, unless another is asked for by name."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from task_toys import ENCODER

from codistill.errors import ConfigError
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.tasks.shared.head_files import HeadData, HeadRecord, read_record, write_head
from codistill.tasks.shared.same_encoder import check_features, told_of

PLAIN, DATA = FeatureConfig(encoder=ENCODER), HeadData(spec="voc:data", samples=4)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("head")
    record = HeadRecord(
        task="segmentation", features=PLAIN, data=DATA, encoder=told_of(FrozenFeatures(PLAIN))
    )
    write_head(folder, record, {"x": torch.zeros(1)}, [])
    return folder


def check(head: Path, config: FeatureConfig, other: bool = False) -> None:
    check_features(head, read_record(head), FrozenFeatures(config), other)


def test_the_same_encoder_is_fine_wherever_it_lies(head: Path, caplog: pytest.LogCaptureFixture) -> None:
    check(head, PLAIN)
    record = read_record(head)
    moved = replace(record, features=replace(record.features, encoder="elsewhere/model.pth"))
    check_features(head, moved, FrozenFeatures(PLAIN), other=False)
    assert not caplog.records


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (FeatureConfig(encoder=f"{ENCODER},seed=9"), "weights differ"),
        (FeatureConfig(encoder=ENCODER.replace("num_heads=2", "num_heads=4")), "num_heads 2 against 4"),
        (FeatureConfig(encoder="baseline:colour"), "architectures differ"),
        (replace(PLAIN, norm=False), "norm True against False"),
        (replace(PLAIN, blocks=(0,)), r"blocks \(-1,\) against \(0,\)"),
    ],
)
def test_others_of_any_kind_are_refused_unless_asked_for(
    head: Path, config: FeatureConfig, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError, match=rf"{said}.*--other-encoder"):
        check(head, config)
    check(head, config, other=True)
    assert "was fitted on" in caplog.text


def test_weights_exchanged_at_the_same_place_are_noticed(head: Path) -> None:
    features = FrozenFeatures(PLAIN)
    next(features.encoder.parameters())[:] += 1e-6
    with pytest.raises(ConfigError, match="weights differ"):
        check_features(head, read_record(head), features, other=False)


def test_heads_that_do_not_say_their_encoder_are_told_of(
    head: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = json.loads((head / "head.json").read_text())
    del plain["encoder"]["fingerprint"]
    (tmp_path / "head.json").write_text(json.dumps(plain))
    check(tmp_path, FeatureConfig(encoder=f"{ENCODER},seed=9"))
    assert "does not say which encoder it was fitted on" in caplog.text


def test_a_projection_into_the_teachers_space_is_taken_and_said(
    head: Path, caplog: pytest.LogCaptureFixture
) -> None:
    into = FeatureConfig(encoder="runs/student", projector="dino", denormalize=True)
    features = SimpleNamespace(config=into)
    check_features(head, read_record(head), features, other=False)  # type: ignore[arg-type]
    assert "runs/student projects into the space of its teacher 'dino', which is taken to be" in caplog.text
    record = read_record(head)
    unknown = replace(record.encoder, fingerprint=None)
    fitted = replace(record, features=replace(into, projector="mast3r"), encoder=unknown)
    with pytest.raises(ConfigError, match="projector mast3r against dino"):
        check_features(head, fitted, features, other=False)  # type: ignore[arg-type]
