"""Tokens and labels on disk: those of the encoder and the data set, made again where these changed, never twice."""

from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from people_scenes import ENCODER, open_people

from codistill.bodies.tiny import TinyBody
from codistill.errors import ConfigError, DataError
from codistill.files import disk
from codistill.heads.human_mesh.targets import PeopleTruth, TargetConfig
from codistill.tasks.people.loading import ViewPlan, training_batches
from codistill.tasks.people.sample import PeopleImage, PeopleImages, Skeleton, make_truth, nobody
from codistill.tasks.people.stored_labels import made_from, read_labels, write_labels
from codistill.tasks.people.tokens import StoredTokens, store_tokens
from codistill.tasks.people.views import ViewLabels
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures

CPU = torch.device("cpu")
COLOURS = FeatureConfig(encoder="baseline:colour")
SKELETON = Skeleton.of(TinyBody())
CAMERA = torch.tensor([[50.0, 0, 27.5], [0, 50, 27.5], [0, 0, 1]])


def store(
    data: PeopleImages, features: FrozenFeatures, folder: Path, about: str = "", **options: object
) -> Path:
    """Tokens of everybody, encoded in this process."""
    given = {"mirror": True, "device": CPU, "workers": 0} | options
    return store_tokens(data, features, 56, folder, about=about, **given)  # type: ignore[arg-type]


def test_stored_tokens_are_those_of_the_encoder(scenes: Path, tmp_path: Path) -> None:
    """With and without storing, the same images are drawn, mirrored alike, and seen alike."""
    data = open_people(f"folder:{scenes}", "train")
    features = FrozenFeatures(FeatureConfig(encoder=ENCODER, norm=False))
    plan = ViewPlan(data.samples, Skeleton.of(data.body), 56, 14, True, TargetConfig(), 3)
    stored = StoredTokens.opened(store(data.samples, features, tmp_path))
    loaders = [
        training_batches(one, batch_size=8, total_steps=3, workers=0, device=CPU)(1)
        for one in (plan, replace(plan, stored=stored))
    ]
    flipped = 0
    for fresh, kept in zip(*loaders, strict=True):
        assert fresh.names == kept.names
        tokens = features(fresh.images)[0].patches
        assert kept.patches is not None
        torch.testing.assert_close(kept.patches, tokens, atol=5e-3, rtol=5e-3)
        assert torch.equal(kept.intrinsics, fresh.intrinsics)
        assert torch.equal(kept.targets.offset, fresh.targets.offset)
        flipped += int((fresh.targets.truth.head[:, 0] != 0).sum())
    assert flipped


class Pictures:
    """Labelled pictures that say what they are made from; how often one was opened."""

    def __init__(self, seed: int, count: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self.images = [rng.integers(0, 255, (56, 56, 3), dtype=np.uint8) for _ in range(count)]
        self.depths, self.opened = [4.0] * count, 0

    def __len__(self) -> int:
        return len(self.images)

    def inputs_of(self, index: int) -> tuple[tuple[str, str], ...]:
        return (f"picture {index}", str(self.images[index].sum())), (
            f"label {index}",
            str(self.depths[index]),
        )

    def __getitem__(self, index: int) -> PeopleImage:
        self.opened += 1
        joints = torch.zeros(1, len(SKELETON.joint_names), 3)
        joints[..., 2] = self.depths[index]
        return PeopleImage(self.images[index], CAMERA, make_truth(SKELETON, joints), f"picture {index}")


def test_what_is_stored_is_found_and_no_picture_is_opened(tmp_path: Path) -> None:
    features, pictures, said = FrozenFeatures(COLOURS), Pictures(0), []
    first = store(pictures, features, tmp_path, say=said.append)
    assert pictures.opened == 3 and said[0].startswith("tokens of 3 images need ")
    before = (first / "tokens.npy").stat().st_mtime_ns
    assert store(pictures, features, tmp_path) == first and pictures.opened == 3
    assert (first / "tokens.npy").stat().st_mtime_ns == before
    assert store(pictures, features, tmp_path, about="another") != first and pictures.opened == 6


def test_workers_read_what_this_process_reads(tmp_path: Path) -> None:
    features, pictures = FrozenFeatures(COLOURS), Pictures(0, count=20)
    folders = (store(pictures, features, tmp_path / str(number), workers=number) for number in (0, 2))
    own, theirs = map(StoredTokens.opened, folders)
    assert np.array_equal(own.values, theirs.values)
    for one, other in zip(own.labels, theirs.labels, strict=True):
        assert one.name == other.name and torch.equal(one.truth.joints, other.truth.joints)


@pytest.mark.parametrize("label", [False, True])
def test_tokens_and_labels_of_what_changed_are_made_again(tmp_path: Path, label: bool) -> None:
    features, said, pictures = FrozenFeatures(COLOURS), [], Pictures(0)
    first = StoredTokens.opened(store(pictures, features, tmp_path))
    if label:
        pictures.depths[1] = 5.0
    else:
        pictures.images[1] = Pictures(1).images[1]
    found = StoredTokens.opened(store(pictures, features, tmp_path, say=said.append))
    fresh = StoredTokens.opened(store(pictures, features, tmp_path / "fresh"))
    assert np.array_equal(found.values, fresh.values)
    same = [np.array_equal(a, b) for a, b in zip(first.values, found.values, strict=True)]
    assert same == [True, label, True]
    assert [one.truth.head[0, 2].item() for one in found.labels] == [4.0, 5.0 if label else 4.0, 4.0]
    changed = "label 1" if label else "picture 1"
    assert f"changed: {changed}" in said[1] and "1 of 3" in said[1]


def test_an_interrupted_store_goes_on(tmp_path: Path) -> None:
    features, pictures = FrozenFeatures(COLOURS), Pictures(0, count=40)
    encode, calls = features.encoder.encode, []

    def stops(*given: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 5:  # two groups of 16, as they are and mirrored, then no more
            raise KeyboardInterrupt
        return encode(*given, **options)  # type: ignore[arg-type]

    features.encoder.encode = stops  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyboardInterrupt):
        store(pictures, features, tmp_path)
    folder = StoredTokens.opened(store(pictures, features, tmp_path))
    whole = StoredTokens.opened(store(pictures, FrozenFeatures(COLOURS), tmp_path / "whole"))
    assert np.array_equal(folder.values, whole.values) and len(folder.labels) == 40


def test_without_room_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=disk.MARGIN + 100))
    pictures = Pictures(0)
    with pytest.raises(ConfigError, match=r"too little .*--limit.*--cache.*--no-cached --head.window None"):
        store(pictures, FrozenFeatures(COLOURS), tmp_path)
    assert not list(tmp_path.iterdir()) and not pictures.opened


def test_tokens_beyond_fp16_are_refused_not_stored_as_infinite(tmp_path: Path) -> None:
    features = FrozenFeatures(COLOURS)
    encode = features.encoder.encode
    features.encoder.encode = lambda *a, **k: replace(t := encode(*a, **k), patches=t.patches * 1e6)  # type: ignore[method-assign]
    with pytest.raises(DataError, match=r"picture 0 and others are too large for fp16.*--no-cached"):
        store(Pictures(0), features, tmp_path, mirror=False)


def test_labels_of_every_kind_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Some with parameters, some with a few joints, an image of both, one of nobody."""
    posed = {"rotmat": torch.rand(2, 5, 3, 3), "shape": torch.rand(2, 2)}
    truths = [
        make_truth(SKELETON, torch.rand(2, 5, 3), **posed),
        make_truth(
            SKELETON, torch.rand(1, 5, 3), joint_known=torch.tensor([[True, False, True, True, False]])
        ),
        nobody(SKELETON),
        replace(make_truth(SKELETON, torch.rand(2, 5, 3), **posed), posed=torch.tensor([True, False])),
    ]
    labels = [ViewLabels(56, CAMERA + number, truth, f"é{number}") for number, truth in enumerate(truths)]
    path = tmp_path / "labels.safetensors"
    assert made_from(path) == ""
    write_labels(path, labels, "these")
    assert made_from(path) == "these"
    for one, other in zip(labels, read_labels(path), strict=True):
        assert (one.size, one.name) == (other.size, other.name) and torch.equal(
            one.intrinsics, other.intrinsics
        )
        for part in fields(PeopleTruth):
            before, after = getattr(one.truth, part.name), getattr(other.truth, part.name)
            assert (before is None) == (after is None), part.name
            assert before is None or torch.equal(before, after)
    path.write_bytes(path.read_bytes()[:50])
    assert made_from(path) == ""
