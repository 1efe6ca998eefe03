"""Fitting through the engine: it learns, goes on where it stopped, stored tokens are those of the encoder."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from people_scenes import ENCODER
from stopping import stopping_after

from codistill.bodies.tiny import TinyBody
from codistill.errors import ConfigError, DataError
from codistill.heads.human_mesh.losses import HumanMeshLossConfig
from codistill.tasks.people.config import PeopleFit
from codistill.tasks.people.data import open_people
from codistill.tasks.people.evaluate import evaluate_people
from codistill.tasks.people.fit import fit_people, whole_patches
from codistill.tasks.people.loading import PeopleViews, ViewPlan, training_batches
from codistill.tasks.people.predict import load_people
from codistill.tasks.people.recipes import PUBLISHED, SMALL, PeopleHeadConfig, find_people_recipe
from codistill.tasks.people.sample import PeopleImage, Skeleton, make_truth
from codistill.tasks.people.tokens import store_tokens
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.tasks.shared.head_files import read_record

CPU = torch.device("cpu")
FEATURES = FeatureConfig(encoder=ENCODER, norm=False)
RECIPE = replace(
    SMALL,
    steps=12,
    batch_size=8,
    head=PeopleHeadConfig(dim=32, depth=1, num_heads=2, head_dim=16, hidden=32),
    loss=HumanMeshLossConfig(projections_from=6),
)


def config(scenes: Path, **changes: object) -> PeopleFit:
    made = PeopleFit(data=f"folder:{scenes}", features=FEATURES, recipe=RECIPE, size=56)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_fit_learns_to_find_people(scenes: Path, tmp_path: Path) -> None:
    longer = replace(RECIPE, steps=250, optim=replace(RECIPE.optim, lr=3e-3))
    assert fit_people(config(scenes, recipe=longer, validate_every=250), Runtime(out=tmp_path, workers=0))
    record = read_record(tmp_path, "people")
    assert record.data["body"] == "tiny" and record.test == {"size": 56}
    assert record.fit["validation"]["detection"] < 2.0
    estimator = load_people(tmp_path)
    data = open_people(f"folder:{scenes}", "train")
    scores = evaluate_people(estimator, data, pictures=0).scores
    untrained = evaluate_people(replace_head(estimator), data, pictures=0).scores
    assert scores.intervals()["f1"].mean > 80.0
    assert scores.people["place"][scores.people["matched"] > 0].mean() < 0.6
    matched = untrained.people["matched"] > 0
    assert not matched.any() or untrained.people["place"][matched].mean() > 0.6


def replace_head(estimator):
    """The same with a fresh head."""
    torch.manual_seed(1)
    fresh = type(estimator.head)(estimator.head.config, estimator.body.init_6d).eval()
    return replace(estimator, head=fresh)


def test_a_stopped_fit_goes_on_as_if_it_had_not_stopped(scenes: Path, tmp_path: Path) -> None:
    whole, parts = Runtime(out=tmp_path / "whole", workers=0), Runtime(out=tmp_path / "parts", workers=0)
    assert fit_people(config(scenes), whole)
    with stopping_after(5):
        assert not fit_people(config(scenes), parts)
    assert not (parts.out / "head.json").exists()
    assert fit_people(config(scenes), parts)
    one, other = ((r.out / "head.safetensors").read_bytes() for r in (whole, parts))
    assert one == other


def test_other_settings_do_not_go_on_in_the_same_folder(scenes: Path, tmp_path: Path) -> None:
    assert fit_people(config(scenes), Runtime(out=tmp_path, workers=0))
    with pytest.raises(ConfigError, match="seed"):
        fit_people(config(scenes, seed=1), Runtime(out=tmp_path, workers=0))


WINDOW = replace(
    RECIPE,
    steps=3,
    head=replace(RECIPE.head, window=(0, 1, 1)),
    loss=HumanMeshLossConfig(),
)


def test_the_window_is_read_before_training_and_stays(scenes: Path, tmp_path: Path) -> None:
    assert fit_people(config(scenes, recipe=WINDOW), Runtime(out=tmp_path, workers=0))
    head = load_people(tmp_path).head
    assert head.config.window == (0, 1, 1)
    assert not head.pose.weight.any() and not head.pose.bias.any()
    assert head.shape.weight.any()
    read = head.around.linear.weight.clone()
    assert read.abs().sum() > 0
    again = replace(WINDOW, steps=1)
    assert fit_people(config(scenes, recipe=again), Runtime(out=tmp_path / "again", workers=0))
    assert torch.equal(load_people(tmp_path / "again").head.around.linear.weight, read)


def test_without_rotations_there_is_no_window(scenes: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(scenes, bare)
    names = ("pelvis", "spine", "head", "arm", "leg")
    for split in ("train", "val"):
        lines = [json.loads(line) for line in (bare / f"{split}.jsonl").read_text().splitlines()]
        for line in lines:
            line["people"] = [
                {"joints": {name: [0.1 * k, 0.1, 4.0] for k, name in enumerate(names)}}
                for _ in line["people"]
            ]
        (bare / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert fit_people(config(bare, recipe=WINDOW), Runtime(out=tmp_path / "out", workers=0))
    head = load_people(tmp_path / "out").head
    assert head.config.window is None
    assert head.pose.weight.any()


def test_stored_tokens_are_those_of_the_encoder(scenes: Path, tmp_path: Path) -> None:
    """With and without storing, the same images are drawn, mirrored alike, and seen alike."""
    data, features = open_people(f"folder:{scenes}", "train"), FrozenFeatures(FEATURES)
    plan = ViewPlan(data.samples, Skeleton.of(data.body), 56, 14, True, RECIPE.targets, 3)
    arguments = (data.samples, features, 56, tmp_path)
    stored = store_tokens(*arguments, about="", mirror=True, device=CPU)
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
        torch.testing.assert_close(kept.intrinsics, fresh.intrinsics)
        torch.testing.assert_close(kept.targets.offset, fresh.targets.offset)
        flipped += int((fresh.targets.truth.head[:, 0] != 0).sum())
    assert flipped
    before = next(tmp_path.glob("people-*/tokens.f16")).stat().st_mtime_ns
    store_tokens(*arguments, about="", mirror=True, device=CPU)
    assert (
        next(tmp_path.glob("people-*/tokens.f16")).stat().st_mtime_ns == before
    )  # found, not computed again
    store_tokens(*arguments, about="another", mirror=True, device=CPU)
    assert len(list(tmp_path.glob("people-*/tokens.f16"))) == 2


def test_a_step_cut_into_parts_sees_the_same_views(scenes: Path) -> None:
    data = open_people(f"folder:{scenes}", "train")
    plan = ViewPlan(data.samples, Skeleton.of(data.body), 56, 14, True, RECIPE.targets, 3)
    options = {"batch_size": 8, "total_steps": 3, "workers": 0, "device": CPU}
    whole, parts = (
        list(training_batches(plan, accumulate=accumulate, **options)(1))  # type: ignore[arg-type]
        for accumulate in (1, 4)
    )
    assert [len(batch) for batch in parts] == [2] * 8
    assert torch.equal(torch.cat([b.images for b in whole]), torch.cat([b.images for b in parts]))
    with pytest.raises(ConfigError, match="multiple of the 1 processes times 3 parts"):
        training_batches(plan, accumulate=3, **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a batch of 8 cannot be cut into 3 equal parts"):
        config(scenes, accumulate=3)


def test_a_long_training_starts_at_once(scenes: Path) -> None:
    """Requests are made as they are needed: the published half a million steps would take minutes and a gigabyte."""
    data = open_people(f"folder:{scenes}", "train")
    plan = ViewPlan(data.samples, Skeleton.of(data.body), 56, 14, True, RECIPE.targets, 3)
    batches = training_batches(plan, batch_size=2, total_steps=10**9, workers=0, device=CPU)(5)
    assert len(next(iter(batches))) == 2


def test_about_half_of_the_views_are_mirrored(scenes: Path) -> None:
    data = open_people(f"folder:{scenes}", "train")
    views = PeopleViews(ViewPlan(data.samples, Skeleton.of(data.body), 56, 14, True, RECIPE.targets, 3))
    coins = np.array([[views._coin(step, slot) for slot in range(20)] for step in range(20)])
    assert 0.4 < coins.mean() < 0.6
    assert views._coin(3, 7) == views._coin(3, 7)


def test_recipes() -> None:
    assert find_people_recipe("published") is PUBLISHED
    rates = PUBLISHED.optim.learning_rates(1000, 32)
    assert rates == [5e-6] * 1000 and PUBLISHED.batch_size == 32 and PUBLISHED.steps == 500_000
    with pytest.raises(ConfigError, match="Did you mean 'small'"):
        find_people_recipe("smal")
    with pytest.raises(ConfigError, match="every_vertex must be 1 or more; got 0"):
        replace(SMALL, every_vertex=0)


def test_configs_that_make_no_sense(scenes: Path) -> None:
    with pytest.raises(ConfigError, match="norm of its own"):
        config(scenes, features=FeatureConfig(encoder=ENCODER, norm=True))
    with pytest.raises(ConfigError, match="one level of tokens"):
        config(scenes, features=FeatureConfig(encoder=ENCODER, norm=False, blocks=(0, 1)))
    assert [whole_patches(size, 14) for size in (1, 100, 105, 112)] == [14, 98, 112, 112]


class Pictures:
    """Labelled pictures that lie in no file."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        body = TinyBody()
        joints = torch.zeros(1, len(body.joint_names), 3)
        joints[..., 2] = 4.0
        self.truth = make_truth(Skeleton.of(body), joints)
        self.images = [self.rng.integers(0, 255, (56, 56, 3), dtype=np.uint8) for _ in range(3)]

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> PeopleImage:
        camera = torch.tensor([[50.0, 0, 27.5], [0, 50, 27.5], [0, 0, 1]])
        return PeopleImage(self.images[index], camera, self.truth, f"picture {index}")


def test_tokens_of_other_pictures_are_not_taken_for_these(tmp_path: Path) -> None:
    features, said = FrozenFeatures(FeatureConfig(encoder="baseline:colour")), []
    options = {"about": "x", "mirror": True, "device": CPU, "say": said.append}
    first = store_tokens(Pictures(0), features, 56, tmp_path, **options)  # type: ignore[arg-type]
    again, other = Pictures(0), Pictures(1)
    again.images[1] = other.images[1]
    found = store_tokens(again, features, 56, tmp_path, **options)  # type: ignore[arg-type]
    fresh = store_tokens(again, features, 56, tmp_path / "fresh", **options)  # type: ignore[arg-type]
    assert np.array_equal(found.values, fresh.values)
    assert [np.array_equal(a, b) for a, b in zip(first.values, found.values, strict=True)] == [
        True,
        False,
        True,
    ]
    assert "changed: sample 1" in said[0] and "1 of 3" in said[0]


def test_tokens_beyond_fp16_are_refused_not_stored_as_infinite(tmp_path: Path) -> None:
    features = FrozenFeatures(FeatureConfig(encoder="baseline:colour"))
    encode = features.encoder.encode
    features.encoder.encode = lambda *a, **k: replace(t := encode(*a, **k), patches=t.patches * 1e6)  # type: ignore[method-assign]
    with pytest.raises(DataError, match=r"picture 0 and others are too large for fp16.*--online"):
        store_tokens(Pictures(0), features, 56, tmp_path, about="x", mirror=False, device=CPU)


def test_a_fit_on_changed_labels_says_so_and_a_finished_one_is_refused(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    runtime = Runtime(out=tmp_path / "head", workers=0)
    short = replace(RECIPE, steps=4)
    with stopping_after(2):
        assert not fit_people(config(data, recipe=short), runtime)
    lines = (data / "train.jsonl").read_text().splitlines()
    lines[3] = lines[3].replace('"people"', '"people" ')
    (data / "train.jsonl").write_text("\n".join(lines) + "\n")
    assert fit_people(config(data, recipe=short), runtime)
    assert "goes on, but with other data than it began with (changed: line 4 of" in capsys.readouterr().err
    assert "line 4" in read_record(runtime.out).fit["data_changed"][0]
    assert fit_people(config(data, recipe=short), runtime)
    lines[5] = lines[5].replace('"people"', '"people" ')
    (data / "train.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError, match=r"fitted on other data \(changed: line 6 of.*another --out"):
        fit_people(config(data, recipe=short), runtime)
