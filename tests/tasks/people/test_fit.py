"""Fitting through the engine: it learns, goes on where it stopped, stored tokens are those of the encoder."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from people_scenes import ENCODER, fit_people, load_head, open_people, scored
from stopping import stopping_after

from codistill.bodies.tiny import TinyBody
from codistill.errors import ConfigError
from codistill.heads.human_mesh.losses import HumanMeshLossConfig
from codistill.heads.human_mesh.targets import TargetConfig
from codistill.tasks.people import load
from codistill.tasks.people.config import RECIPES, PeopleFit, PeopleHeadConfig
from codistill.tasks.people.loading import PeopleViews, ViewPlan, training_batches
from codistill.tasks.people.sample import Skeleton
from codistill.tasks.people.views import whole_patches
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.head_files import read_record

CPU = torch.device("cpu")
FEATURES = FeatureConfig(encoder=ENCODER, norm=False)
HEAD = PeopleHeadConfig(dim=32, depth=1, num_heads=2, head_dim=16, hidden=32)


def config(scenes: Path, **changes: object) -> PeopleFit:
    made = PeopleFit(
        data=f"folder:{scenes}",
        features=FEATURES,
        size=56,
        steps=12,
        batch_size=8,
        head=HEAD,
        loss=HumanMeshLossConfig(projections_from=6),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_fit_learns_to_find_people(scenes: Path, tmp_path: Path) -> None:
    longer = config(scenes, steps=250, optim=replace(PeopleFit().optim, lr=3e-3), validate_every=250)
    assert fit_people(longer, Runtime(out=tmp_path, workers=0))
    record = read_record(tmp_path, "people")
    assert (record.test["body"], record.test["size"]) == ("tiny", 56)
    assert record.fit["validation"]["detection"] < 2.0
    estimator = load_head(tmp_path)
    data = open_people(f"folder:{scenes}", "train")
    found = scored(estimator, data)
    untrained = scored(replace_head(estimator), data).table.rows
    assert found.scores["f1"].mean > 80.0
    assert found.scores["place"].mean < 0.6
    matched = untrained["matched"] > 0
    assert not matched.any() or untrained["place"][matched].mean() > 0.6


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


WINDOW = {"steps": 3, "head": replace(HEAD, window=(0, 1, 1)), "loss": HumanMeshLossConfig()}


def test_the_window_is_read_before_training_and_stays(scenes: Path, tmp_path: Path) -> None:
    assert fit_people(config(scenes, **WINDOW), Runtime(out=tmp_path, workers=0))
    head = load_head(tmp_path).head
    assert head.config.window == (0, 1, 1)
    assert not head.pose.weight.any() and not head.pose.bias.any()
    assert head.shape.weight.any()
    read = head.around.linear.weight.clone()
    assert read.abs().sum() > 0
    again = WINDOW | {"steps": 1}
    assert fit_people(config(scenes, **again), Runtime(out=tmp_path / "again", workers=0))
    assert torch.equal(load_head(tmp_path / "again").head.around.linear.weight, read)


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
    assert fit_people(config(bare, **WINDOW), Runtime(out=tmp_path / "out", workers=0))
    head = load_head(tmp_path / "out").head
    assert head.config.window is None
    assert head.pose.weight.any()


def test_a_step_cut_into_parts_sees_the_same_views(scenes: Path) -> None:
    data = open_people(f"folder:{scenes}", "train")
    plan = ViewPlan(data.samples, Skeleton.of(data.body), 56, 14, True, TargetConfig(), 3)
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
    plan = ViewPlan(data.samples, Skeleton.of(data.body), 56, 14, True, TargetConfig(), 3)
    batches = training_batches(plan, batch_size=2, total_steps=10**9, workers=0, device=CPU)(5)
    assert len(next(iter(batches))) == 2


def test_about_half_of_the_views_are_mirrored(scenes: Path) -> None:
    data = open_people(f"folder:{scenes}", "train")
    views = PeopleViews(ViewPlan(data.samples, Skeleton.of(data.body), 56, 14, True, TargetConfig(), 3))
    coins = np.array([[views._coin(step, slot) for slot in range(20)] for step in range(20)])
    assert 0.4 < coins.mean() < 0.6
    assert views._coin(3, 7) == views._coin(3, 7)


def test_recipes() -> None:
    assert RECIPES["small"] == PeopleFit() and PeopleFit().head.window == (1, 4, 2)
    published = RECIPES["published"]
    assert published.optim.learning_rates(1000, 32) == [5e-6] * 1000
    assert published.batch_size == 32 and published.steps == 500_000 and not published.cached
    with pytest.raises(ConfigError, match="every_vertex must be 1 or more; got 0"):
        PeopleFit(every_vertex=0)


def test_a_body_model_that_takes_long_is_made_at_its_first_use(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head for Anny (tiny's body in its place) opens and moves without it."""
    fit_people(config(scenes, steps=1), Runtime(out=tmp_path, workers=0))
    path = tmp_path / "head.json"
    path.write_text(path.read_text().replace('"body": "tiny"', '"body": "anny"'))
    asked: list[str] = []
    monkeypatch.setattr(load, "load_body", lambda name: asked.append(name) or TinyBody())
    model = load_head(tmp_path).to("cpu")
    assert not asked and model.describe()["body"] == "anny"
    with torch.inference_mode():
        assert not model.body.init_6d.is_inference()  # it may be trained with
    assert asked == ["anny"] and model.body is model.body


def test_configs_that_make_no_sense(scenes: Path) -> None:
    with pytest.raises(ConfigError, match="its own norm"):
        config(scenes, features=FeatureConfig(encoder=ENCODER, norm=True))
    with pytest.raises(ConfigError, match="one level of tokens"):
        config(scenes, features=FeatureConfig(encoder=ENCODER, norm=False, blocks=(0, 1)))
    for changes in ({"cached": False}, {"init": "multihmr.pth"}):
        with pytest.raises(
            ConfigError, match=r"window \(1, 4, 2\) is fitted to stored tokens.*--head.window None"
        ):
            PeopleFit(**changes)
    with pytest.raises(ConfigError, match="no meaning with --no-cached, --init or the recipe `published`"):
        replace(RECIPES["published"], head=WINDOW["head"])
    assert [whole_patches(size, 14) for size in (1, 100, 105, 112)] == [14, 98, 112, 112]


def test_a_fit_on_changed_labels_says_so_and_a_finished_one_is_refused(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    runtime = Runtime(out=tmp_path / "head", workers=0)
    short = config(data, steps=4)
    with stopping_after(2):
        assert not fit_people(short, runtime)
    lines = (data / "train.jsonl").read_text().splitlines()
    lines[3] = lines[3].replace('"people"', '"people" ')
    (data / "train.jsonl").write_text("\n".join(lines) + "\n")
    assert fit_people(short, runtime)
    said = capsys.readouterr().err
    assert (
        f"resumes, but with other data than it began with (changed: label of {data}/images/0003.png)" in said
    )
    assert "0003.png" in read_record(runtime.out).fit["data_changed"][0]
    assert fit_people(short, runtime)
    lines[5] = lines[5].replace('"people"', '"people" ')
    (data / "train.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(
        ConfigError, match=r"fitted on other data \(changed: label of .*0005.png.*another --out"
    ):
        fit_people(short, runtime)
