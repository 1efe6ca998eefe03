"""A head's SHA-256 changes with its answers and not with its place; files without one stay readable."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codistill.errors import CheckpointError
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.head_files import EncoderFacts, HeadData, HeadRecord, write_head
from codistill.tasks.shared.scored_head import check_scored, head_sha256

RECORD = HeadRecord(
    task="knn",
    features=FeatureConfig(encoder="E"),
    data=HeadData(spec="folder:photos", samples=2),
    encoder=EncoderFacts(name="e", licence="MIT", channels=8, patch_size=14),
)
TENSORS = {"labels": torch.tensor([0, 1])}


def test_it_changes_with_the_answers_and_not_with_the_place(tmp_path: Path) -> None:
    write_head(tmp_path / "one", RECORD, TENSORS, ["fit"])
    before = head_sha256(tmp_path / "one")
    write_head(tmp_path / "one", replace(RECORD, fit={"seconds": 3}), TENSORS, ["fit", "again"])
    assert head_sha256((tmp_path / "one").rename(tmp_path / "two")) == before
    features, tensors = FeatureConfig(encoder="E", blocks=(-2,)), {"labels": torch.tensor([1, 0])}
    for name, record, content in (
        ("features", replace(RECORD, features=features), TENSORS),
        ("tensors", RECORD, tensors),
    ):
        write_head(tmp_path / name, record, content, ["fit"])
        assert head_sha256(tmp_path / name) != before


def test_scores_of_another_head_are_refused(tmp_path: Path) -> None:
    head, metrics = tmp_path / "head", tmp_path / "metrics.json"
    write_head(head, RECORD, TENSORS, ["fit"])
    for said in ({}, {"head_sha256": head_sha256(head)}):
        metrics.write_text(json.dumps({"task": "knn", **said}))
        check_scored(metrics, head)
    metrics.write_text(json.dumps({"task": "knn", "head_sha256": "0"}))
    check_scored(metrics, tmp_path)  # holds no head
    with pytest.raises(CheckpointError, match=r"Score this one \(codistill evaluate knn --head"):
        check_scored(metrics, head)
