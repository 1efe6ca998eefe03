import numpy as np
import pytest
import torch
from rich.console import Console
from task_toys import class_folder

from codistill.errors import ConfigError
from codistill.tasks.classification.bank import ImageVectors
from codistill.tasks.classification.config import LinearFit
from codistill.tasks.classification.sweep import INPUTS, RATES, CropViews, SweepInput
from codistill.tasks.classification.task import LINEAR
from codistill.tasks.evaluation import evaluate
from codistill.tasks.opening import fit_task, open_data
from codistill.tasks.shared.batched_fit import HeadsSGD
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.data import DenseSample
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.head_files import read_record
from codistill.tasks.task import Subject
from codistill.types import Tokens
from codistill.weights.read import read_checkpoint

ENCODER = "random:vit_tiny,depth=4,dim=48,num_heads=2,image_size=56"
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return class_folder(tmp_path_factory.mktemp("images"), train=12, classes=3)


def config(root, **options) -> LinearFit:
    fields = {
        "data": f"folder:{root}",
        "features": FeatureConfig(encoder=ENCODER),
        "vectors": ImageVectors(resize=64, crop=56),
        "protocol": "published",
        "steps": 30,
        "batch_size": 12,
        **options,
    }
    return LinearFit(**fields)


def fit(root, out) -> None:
    fit_task(LINEAR, config(root), Runtime(out=out, workers=0, console=QUIET))


def test_the_grid_is_the_published_one():
    assert len(RATES) == 13 and (RATES[0], RATES[-1]) == (1e-5, 0.1)
    assert [seen.name for seen in INPUTS] == ["last1", "last1_mean", "last4", "last4_mean"]


def test_inputs_are_class_tokens_of_the_last_blocks_and_the_last_mean():
    levels = [Tokens(torch.randn(2, 6, 3), (2, 3), torch.randn(2, 3)) for _ in range(4)]
    cls = [level.cls for level in levels if level.cls is not None]
    found = SweepInput(4, True).vectors(levels)
    torch.testing.assert_close(found, torch.cat([*cls, levels[3].patches.mean(1)], dim=1))
    torch.testing.assert_close(SweepInput(1, False).vectors(levels), cls[3])


def test_the_sweep_learns_and_its_head_is_used(root, tmp_path):
    fit(root, tmp_path)
    found = read_record(tmp_path).fit
    assert found["chosen_input"] in {seen.name for seen in INPUTS}
    assert sum(len(rates) for rates in found["held_out_accuracy"].values()) == 52
    data, test = open_data(LINEAR, f"folder:{root}", "val"), LINEAR.test()
    model = LINEAR.load(Subject(head=tmp_path), test, data)
    outcomes = LINEAR.score(model, data, test, Runtime(out=tmp_path, workers=0))
    assert evaluate(LINEAR, outcomes, data, test).scores["linear top-1"].mean > 80.0


class StoppedError(Exception):
    pass


def test_an_interrupted_sweep_ends_the_same(root, tmp_path, monkeypatch):
    real = HeadsSGD.step

    def stopping(self, number, factor):
        if number == 26:
            raise StoppedError
        real(self, number, factor)

    fit(root, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(HeadsSGD, "step", stopping)
        with pytest.raises(StoppedError):
            fit(root, tmp_path / "parts")
    fit(root, tmp_path / "parts")
    one, two = (read_checkpoint(tmp_path / name / "head.safetensors") for name in ("whole", "parts"))
    assert torch.equal(one["weight"], two["weight"]) and torch.equal(one["bias"], two["bias"])


def test_crops_are_of_one_size_and_lie_in_the_image():
    image = np.arange(60 * 90, dtype=np.uint16).reshape(60, 90, 1).repeat(3, 2) // 22
    sample = DenseSample(image.astype(np.uint8), np.array(2), "")
    maker = CropViews(ImageVectors(resize=64, crop=56))
    spans = []
    for seed in range(40):
        view = maker(sample, np.random.default_rng(seed))
        assert view.pixels.shape == (56, 56, 3) and view.inside == (56, 56) and int(view.target) == 2
        spans.append(int(view.pixels.max()) - int(view.pixels.min()))
    assert min(spans) < 100 < 180 < max(spans)  # small parts and nearly all of it


def test_what_does_not_go_together_is_refused(root):
    with pytest.raises(ConfigError, match="chooses its blocks itself"):
        config(root, features=FeatureConfig(encoder=ENCODER, blocks=(0, 1)))
    with pytest.raises(ConfigError, match=r"^vectors\.kind = mean would have no effect"):
        config(root, vectors=ImageVectors(kind="mean"))
