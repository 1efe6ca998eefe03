"""Targets on disk: equal to computed ones, found by all that they depend on, and checked before they are used."""

import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor

from codistill.encoders.seeded import seeded_encoder
from codistill.errors import DataError, WriteError
from codistill.teachers import target_cache
from codistill.teachers.bank import TeacherBank
from codistill.teachers.target_cache import TargetCache
from codistill.teachers.teacher import Teacher, TeacherConfig
from codistill.teachers.views import ShiftConfig, ViewPlan

IMAGES = torch.randn(3, 3, 28, 28, generator=torch.Generator().manual_seed(0))


def bank(folder: Path, *, seed: int = 1, cache: TargetCache | None = None, **config: object) -> TeacherBank:
    text = f"random:vit_tiny,dim=32,num_heads=2,depth=1,seed={seed}"
    teacher = Teacher(TeacherConfig(name="t", **config), seeded_encoder(text))  # type: ignore[arg-type]
    return TeacherBank([teacher], 14, cache or TargetCache(folder))


def counts(used: TeacherBank, images: Tensor = IMAGES, rows: Tensor | None = None) -> tuple[int, int]:
    """Batches that were found and computed for some images."""
    assert used.cache is not None
    used(images, {"t": rows})
    return used.cache.found, used.cache.computed


def test_targets_are_those_that_were_computed(tmp_path: Path) -> None:
    computed = bank(tmp_path)(IMAGES, {"t": None})["t"]
    again = bank(tmp_path)
    kept = again(IMAGES, {"t": None})["t"]
    assert again.cache is not None and (again.cache.found, again.cache.computed) == (1, 0)
    assert kept.grid == computed.grid and kept.normed == computed.normed
    assert kept.cls is not None and computed.cls is not None
    assert torch.equal(kept.patches, computed.patches) and torch.equal(kept.cls, computed.cls)


def test_whatever_changes_the_targets_is_a_miss(tmp_path: Path) -> None:
    assert counts(bank(tmp_path)) == (0, 1)
    assert counts(bank(tmp_path)) == (1, 0)
    assert counts(bank(tmp_path, weight=2.0, domain="3d")) == (1, 0)  # changes no token
    nearly = IMAGES.clone()
    nearly[2, 1, 5, 7] += 1e-6
    assert counts(bank(tmp_path), nearly) == (0, 1)
    assert counts(bank(tmp_path), rows=torch.tensor([0, 2])) == (0, 1)
    assert counts(bank(tmp_path, seed=2)) == (0, 1)
    assert counts(bank(tmp_path, norm=False)) == (0, 1)
    assert counts(bank(tmp_path, image_size=42)) == (0, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert counts(bank(tmp_path)) == (0, 1)
    compiled = bank(tmp_path)
    compiled["t"].compile(backend="eager")
    assert counts(compiled) == (0, 1)
    changed = bank(tmp_path)
    with torch.no_grad():
        next(changed["t"].encoder.parameters()).add_(1e-3)
    assert counts(changed) == (0, 1)


def test_a_step_with_another_shift_is_another_entry(tmp_path: Path) -> None:
    plan = ViewPlan(seed=0, patch_size=14, student=(56,), teachers={"t": ()}, shift=ShiftConfig(most=1))
    views = [plan.of_step(step) for step in range(30)]
    images = torch.randn(1, 3, views[0].canvas, views[0].canvas)
    cache = TargetCache(tmp_path)
    used = bank(tmp_path, cache=cache)
    for one in views:
        used(images, {"t": None}, one)
    assert cache.computed == len({one.shift("t") for one in views}) > 1


def test_other_code_with_the_same_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts(bank(tmp_path))
    other = bank(tmp_path)
    computed = Teacher.forward
    monkeypatch.setattr(Teacher, "forward", lambda *args: computed(*args).map(lambda tensor: tensor + 1))
    with pytest.raises(DataError, match=r"other targets of teacher 't'.*--target-cache"):
        counts(other)


@pytest.mark.parametrize("end", [b"", b"\x00" * 5], ids=["shorter", "other numbers"])
def test_a_damaged_entry_is_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, end: bytes
) -> None:
    counts(bank(tmp_path))
    (entry,) = tmp_path.rglob("*.safetensors")
    entry.write_bytes(entry.read_bytes()[:-5] + end)
    with caplog.at_level(logging.WARNING):
        assert counts(bank(tmp_path)) == (0, 1)
    assert "is damaged" in caplog.text
    assert counts(bank(tmp_path)) == (1, 0)


def test_a_full_disk_stops_no_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise WriteError("the disk is full")

    monkeypatch.setattr(target_cache, "write_tensors", full)
    used = bank(tmp_path)
    assert counts(used) == (0, 1)
    assert counts(used, IMAGES + 1) == (0, 2)
    assert caplog.text.count("no more targets are kept") == 1
