"""Correlation of loss changes against numpy; gaps; refusals. Explained variance against scikit-learn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from codistill.analysis.attention import cls_attention, nearest_patches
from codistill.analysis.correlation import loss_change_correlations
from codistill.analysis.log import read_series
from codistill.analysis.variance import explained_variance
from codistill.encoders.seeded import seeded_encoder
from codistill.errors import DataError
from codistill.student.student import Student
from codistill.tasks.distillation.evaluate import target_reader
from codistill.teachers.bank import TeacherBank
from codistill.teachers.teacher import Teacher, TeacherConfig
from codistill.types import Batch, Tokens


def test_equals_numpy_on_changes() -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(size=300).cumsum()
    series = {"a": common + rng.normal(size=300) * 0.1, "b": common, "c": -common}
    results = {(r.first, r.second): r for r in loss_change_correlations(series)}
    expected = np.corrcoef(np.diff(series["a"]), np.diff(series["b"]))[0, 1]
    assert results["a", "b"].correlation == pytest.approx(expected)
    assert results["b", "c"].correlation == pytest.approx(-1)
    assert results["b", "c"].agreement == 0
    assert results["a", "b"].updates == 299


def test_interval_of_independent_changes_is_that_of_fisher() -> None:
    rng = np.random.default_rng(1)
    shared = rng.normal(size=900)
    a, b = (np.concatenate([[0.0], (shared + rng.normal(size=900)).cumsum()]) for _ in range(2))
    (pair,) = loss_change_correlations({"a": a, "b": b})
    low, high = np.tanh(np.arctanh(pair.correlation) + np.array([-1.96, 1.96]) / np.sqrt(900 - 3))
    assert pair.low == pytest.approx(low, abs=0.02)
    assert pair.high == pytest.approx(high, abs=0.02)
    (short,) = loss_change_correlations({"a": a[:15], "b": b[:15]})
    assert np.isnan([short.low, short.high]).all()
    assert np.isfinite(short.correlation)


def test_gaps_count_only_where_both_have_a_change() -> None:
    a = np.array([1.0, 2.0, np.nan, 4.0, 6.0, 5.0])
    b = np.array([1.0, 3.0, 4.0, 4.0, 8.0, 7.0])
    (pair,) = loss_change_correlations({"a": a, "b": b})
    assert pair.updates == 3
    assert pair.agreement == 1
    constant = loss_change_correlations({"a": np.ones(5), "b": np.arange(5.0)})[0]
    assert np.isnan(constant.correlation)
    with pytest.raises(DataError, match="two or more series"):
        loss_change_correlations({"a": a})


def test_log_is_read_back_and_a_cut_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = [{"step": i, "loss": 1.0 - i / 10, "loss/t": None if i == 1 else 0.5} for i in range(4)]
    path.write_text("\n".join(json.dumps(row) for row in rows) + '\n{"step": 4, "lo')
    series = read_series(path)
    assert series.steps.tolist() == [0, 1, 2, 3]
    assert series.teachers() == ("t",)
    assert np.isnan(series.values["loss/t"][1])
    path.write_text('{"step": 0, "loss": 1}\nnonsense\n{"step": 2, "loss": 1}\n')
    with pytest.raises(DataError, match="line 2 is damaged"):
        read_series(path)
    path.write_text('{"step": "0", "loss": 1}\n')
    with pytest.raises(DataError, match=r"line 1 is damaged \(its step is '0'"):
        read_series(path)
    path.write_bytes(b'{"step": 0, "loss": \xa7}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl: not a text"):
        read_series(path)
    with pytest.raises(DataError, match="folder of a run"):
        read_series(tmp_path / "nothing.jsonl")


def test_explained_variance_equals_scikit_learn() -> None:
    encoder = seeded_encoder("random:vit_tiny,dim=16,depth=2,num_heads=2")
    bank = TeacherBank(
        [Teacher(TeacherConfig(name="t"), seeded_encoder("random:vit_tiny,dim=8,depth=1,num_heads=2"))], 14
    )
    student = Student(encoder, bank.target_specs()).eval()
    images = torch.randn(4, 3, 56, 56)
    parts = [Batch(images[i : i + 2], ("g",) * 2, ("s",) * 2, ("n",) * 2) for i in (0, 2)]
    result = explained_variance(student, bank, parts)["t"]
    tokens = bank(images, {})["t"].patches.reshape(-1, 8)
    reference = PCA().fit(tokens.numpy()).explained_variance_ratio_.cumsum()
    np.testing.assert_allclose(result.teacher, reference, rtol=1e-4)
    assert result.tokens == 64
    assert result.student[-1] == pytest.approx(1)
    assert result.components_for(0.0) == (1, 1)
    assert result.components_for(0.999999)[0] <= 8


def test_targets_are_divided_as_in_training_where_a_deviation_is_below_the_floor() -> None:
    teacher = Teacher(TeacherConfig(name="t"), seeded_encoder("random:vit_tiny,dim=8,depth=1,num_heads=2"))
    bank = TeacherBank([teacher], 14)
    encoder = seeded_encoder("random:vit_tiny,dim=16,depth=2,num_heads=2")
    student = Student(encoder, bank.target_specs(), std_floor=0.5).eval()
    deviations = torch.tensor([0.01, 0.1, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    student.target_statistics["t"]["patch"].std.copy_(deviations)  # type: ignore[index,operator,union-attr]
    batch = Batch(torch.randn(2, 3, 56, 56), ("g",) * 2, ("s",) * 2, ("n",) * 2)
    wanted = bank(batch.images, {})["t"].patches / deviations.clamp(min=0.5)
    torch.testing.assert_close(target_reader(student, bank, "t")(batch), wanted)
    reference = PCA().fit(wanted.flatten(0, 1).numpy()).explained_variance_ratio_.cumsum()
    np.testing.assert_allclose(explained_variance(student, bank, [batch])["t"].teacher, reference, rtol=1e-4)


def test_class_token_attention_and_nearest_patches() -> None:
    encoder = seeded_encoder("random:vit_tiny,dim=16,depth=2,num_heads=2,num_registers=3")
    images = torch.randn(2, 3, 28, 42)
    attention = cls_attention(encoder, images)
    assert attention.shape == (2, 2, 2, 3)
    whole = encoder.attention_map(images)
    torch.testing.assert_close(attention.flatten(2), whole[:, :, 0, 4:])
    tokens = encoder(images)
    shuffled = Tokens(patches=tokens.patches[:, [3, 1, 0, 2, 5, 4]] * 2, grid=(2, 3))
    index, similarity = nearest_patches(tokens, shuffled)
    assert index.tolist() == [[2, 1, 3, 0, 5, 4]] * 2
    torch.testing.assert_close(similarity, torch.ones(2, 6))
