"""Artefacts as scores: planted ones with their shares, and the numbers of an encoder written out with loops."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from task_toys import ENCODER, photo_folder, toy_scene, write_png
from torch import Tensor

from codistill.analysis.artefacts import artefacts_of
from codistill.encoders.base import Encoder
from codistill.encoders.load import load_encoder
from codistill.errors import ConfigError, DataError
from codistill.imaging import read_rgb, resize_rgb
from codistill.imaging.normalize import normalized
from codistill.tasks.artefacts import score as scoring
from codistill.tasks.artefacts.score import ArtefactsTest
from codistill.tasks.artefacts.task import TASK
from codistill.tasks.evaluation import Evaluation, compare, evaluate, write_evaluation
from codistill.tasks.opening import open_data, open_split
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.task import Subject
from codistill.types import EncoderSpec, Tokens

SIDE, PATCH = 56, 14
RUNTIME = Runtime(out=Path(), workers=0, console=Console(quiet=True))


def scored(spec: str, source: Encoder | None = None, split: str = "all", **options) -> Evaluation:
    test = ArtefactsTest(**{"size": SIDE, "batch_size": 4, **options})
    data = open_data(TASK, spec, split)
    model = TASK.load(Subject(features=FeatureConfig(encoder=ENCODER), source=source), test, data)
    return evaluate(TASK, TASK.score(model, data, test, RUNTIME), data, test)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("photos"), train=8, val=3)


class Planted(Encoder):
    """Mean colours of patches; before the norm one token in 16 is long in every second picture."""

    def __init__(self, pattern: float = 0.0, before: bool = True) -> None:
        super().__init__()
        self.spec = EncoderSpec(name="planted", dim=3, patch_size=PATCH, has_cls=False)
        self.pattern, self.before, self.seen = pattern, before, 0

    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        if not norm and not self.before:
            raise ConfigError("only after the norm")
        generator = torch.Generator().manual_seed(1 + self.seen)
        noise = torch.randn(len(images), 16, 3, generator=generator)
        noise = noise + torch.tensor([20.0, 0.0, 0.0])
        pattern = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
        noise = noise + self.pattern * (pattern - pattern.mean(0))
        if not norm:
            noise[(torch.arange(len(images)) + self.seen) % 2 == 0, 5] *= 10
        else:
            self.seen += len(images)
        return Tokens(patches=noise, grid=(4, 4), normed=norm)


def test_planted_artefacts_have_their_shares(photos: Path) -> None:
    found = scored(f"folder:{photos}", Planted())
    assert list(found.scores) == ["long", "pattern", "long_normed", "pattern_normed"]
    long = found.table.values["long"]
    np.testing.assert_allclose(long, [100 / 16, 0] * 5 + [100 / 16])
    assert found.scores["long"].mean == pytest.approx(long.mean())
    assert found.scores["long_normed"].mean == 0
    assert found.summary.facts["lengths"]["longest"] > 150 > found.summary.facts["lengths_normed"]["longest"]
    assert "tokens are long from" in found.summary.lines[0]
    strong = scored(f"folder:{photos}", Planted(4.0)).scores["pattern_normed"]
    assert strong.low is not None and strong.low > 80 and strong.count == 11
    none = scored(f"folder:{photos}", Planted()).scores["pattern_normed"]
    assert none.low is not None and none.high is not None and none.low < 0 < none.high


def test_numbers_of_an_encoder_are_those_of_its_tokens(photos: Path) -> None:
    found = scored(f"folder:{photos}")
    encoder = load_encoder(ENCODER)
    paths = sorted(photos.rglob("*.png"))
    assert found.table.names == tuple(str(path.relative_to(photos)) for path in paths)
    pixels = np.stack([resize_rgb(read_rgb(path), (SIDE, SIDE)) for path in paths])
    images = normalized(torch.from_numpy(pixels))
    with torch.no_grad():
        tokens = {norm: encoder(images, norm=norm).patches.double().numpy() for norm in (False, True)}
    for end, norm in (("", False), ("_normed", True)):
        lengths = np.sqrt((tokens[norm] ** 2).sum(-1))
        ordered = np.sort(lengths, axis=None)
        median = ordered[(ordered.size - 1) // 2]
        deviations = np.sort(np.abs(lengths - median), axis=None)
        start = median + 6 * 1.4826 * deviations[(ordered.size - 1) // 2]
        np.testing.assert_allclose(found.table.values[f"long_from{end}"], start, rtol=1e-4)
        shares = [100 * sum(length > start for length in row) / 16 for row in lengths]
        np.testing.assert_allclose(found.table.values[f"long{end}"], shares)
        np.testing.assert_allclose(found.table.values[f"longest{end}"], lengths.max(1), rtol=1e-4)
    both = artefacts_of(encoder, images.split(1))
    for end, name in (("", "before the final norm"), ("_normed", "after it")):
        wanted = 100 * both[name].fixed_pattern
        assert found.scores[f"pattern{end}"].mean == pytest.approx(wanted, rel=1e-4)
        assert found.scores[f"long{end}"].mean == pytest.approx(100 * both[name].long_share, abs=1e-6)


def test_an_encoder_without_tokens_before_its_norm_has_scores_after_it(photos: Path, tmp_path: Path) -> None:
    found = scored(f"folder:{photos}", Planted(before=False))
    assert list(found.scores) == ["long_normed", "pattern_normed"]
    assert found.summary.lines[0] == "before the final norm: the encoder gives no tokens there"
    data = open_data(TASK, f"folder:{photos}", "all")
    write_evaluation(tmp_path, TASK, found, data, ArtefactsTest(), {}, [])
    assert json.loads((tmp_path / "metrics.json").read_text())["scores"].keys() == set(found.scores)
    both = scored(f"folder:{photos}", Planted(4.0))
    difference = compare(TASK, both, tmp_path, "pattern_normed")
    assert difference["verdict"] == "worse" and difference["difference"]["mean"] > 70
    with pytest.raises(DataError, match="one of the two evaluations has no such score"):
        compare(TASK, both, tmp_path, "pattern")


def test_a_head_is_refused_and_the_record_claims_no_norm() -> None:
    with pytest.raises(ConfigError, match="takes no head"):
        TASK.load(Subject(head=Path("h")), ArtefactsTest(), None)
    model = TASK.load(Subject(features=FeatureConfig(encoder=ENCODER)), ArtefactsTest(), None)
    assert "norm" not in model.describe()["encoder"] and model.describe()["encoder"]["channels"] == 48


def test_sides_are_whole_patches() -> None:
    assert [ArtefactsTest(size=size).side(14) for size in (112, 110, 120, 1)] == [112, 112, 126, 14]
    with pytest.raises(ConfigError, match="size must be 1 or more"):
        ArtefactsTest(size=0)


def test_more_tokens_than_memory_are_refused(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "MOST", 5 * 4 * 2 * 48 * 16)
    with pytest.raises(ConfigError, match=r"tokens of 11 pictures need 66\.0 KiB .* \(--limit 5\)"):
        scored(f"folder:{photos}")


def test_tokens_that_are_no_numbers_are_refused(photos: Path) -> None:
    with pytest.raises(DataError, match=r"tokens of train/0000\.png and others are not finite"):
        scored(f"folder:{photos}", Planted(float("nan")))


def test_worlds_have_scenes_as_groups_and_domains_of_their_own(tiny_world: Path) -> None:
    both = scored(f"world:{tiny_world}", split="test")
    assert len(both.table) == 4 and both.table.groups.count == 3  # two objects, a room with two views
    names = {spec: scored(f"{spec}:{tiny_world}", split="test").table.names for spec in ("objects", "rooms")}
    assert both.table.names == (*names["objects"], *names["rooms"])
    assert both.scores["pattern"].groups == 3
    with pytest.raises(DataError, match="people"):
        open_split(TASK.layouts, f"people:{tiny_world}", "test")


def test_folders_name_their_groups_and_empty_ones_are_refused(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b.png"):
        write_png(tmp_path / "p" / name, toy_scene(len(name))[0])
    (tmp_path / "p/groups.json").write_text(json.dumps({"all": {"a/1.png": "x", "a/2": "x", "b.png": "y"}}))
    data = open_split(TASK.layouts, f"folder:{tmp_path / 'p'}", "all")
    assert data.samples.groups.names == ("x", "x", "y")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images below it"):
        open_split(TASK.layouts, f"folder:{tmp_path / 'empty'}", "all")
    with pytest.raises(DataError, match="no such folder"):
        open_split(TASK.layouts, f"folder:{tmp_path / 'none'}", "all")
