"""Options of fits that would have no effect are refused, with the reason; every one of them exists."""

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codistill.errors import ConfigError
from codistill.heads.two_view.losses import TwoViewLossConfig
from codistill.tasks.classification.config import KnnFit, LinearFit
from codistill.tasks.dense.depth.fit import DepthFit
from codistill.tasks.dense.normals.fit import NormalsFit
from codistill.tasks.dense.segmentation.fit import SegmentationFit
from codistill.tasks.opening import fit_task
from codistill.tasks.people.config import PeopleFit, PeopleHeadConfig
from codistill.tasks.registry import find_task
from codistill.tasks.shared.config import HeadFit, Runtime
from codistill.tasks.two_view.config import TwoViewFit

PUBLISHED = {"protocol": "published", "learning_rates": (1e-3,)}
ONLINE = {"cached": False, "head": PeopleHeadConfig(window=None)}


@pytest.mark.parametrize(
    ("kind", "given", "idle", "reason"),
    [
        (SegmentationFit, PUBLISHED, {"pixels": 64}, "fresh views"),
        (NormalsFit, PUBLISHED, {"views": 3}, "fresh views"),
        (DepthFit, PUBLISHED, {"held_out": 0.2}, "fresh views"),
        (DepthFit, {}, {"gradient_loss": 0.5}, "no gradient"),
        (LinearFit, {}, {"steps": 100}, "converges"),
        (LinearFit, {"protocol": "published"}, {"strengths": (1.0,)}, "sweeps learning rates"),
        (TwoViewFit, {"cached": False}, {"views": 5}, "fresh views"),
        (TwoViewFit, {"loss": TwoViewLossConfig(matching_weight=0.0)}, {"matches": 64}, "matching_weight"),
        (TwoViewFit, {"cached": False}, {"encoder_lr_scale": 0.1}, "frozen encoder"),
        (PeopleFit, ONLINE, {"encoder_lr_scale": 0.1}, "frozen encoder"),
    ],
)
def test_a_field_without_effect_is_refused(
    kind: type[HeadFit], given: dict[str, Any], idle: dict[str, Any], reason: str
) -> None:
    allowed = kind(**given)
    (name,) = idle
    with pytest.raises(ConfigError, match=rf"^{name} = .* would have no effect: .*{reason}"):
        replace(allowed, **idle)


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (SegmentationFit(), ["recompute"]),
        (SegmentationFit(**PUBLISHED), ["recompute", "cache"]),
        (KnnFit(), ["recompute", "cache"]),
        (LinearFit(), ["recompute"]),
        (LinearFit(protocol="published"), ["recompute", "cache"]),
        (TwoViewFit(), []),
        (TwoViewFit(cached=False, unfreeze=True), ["cache"]),
        (PeopleFit(), ["recompute"]),
        (PeopleFit(**ONLINE, unfreeze=True), ["cache"]),
    ],
)
def test_of_where_to_compute_what_has_no_effect(config: HeadFit, names: list[str]) -> None:
    found = [name for name, _ in config.idle_computing()]
    assert found == names
    assert set(found) <= {field.name for field in dataclasses.fields(Runtime)}


@pytest.mark.parametrize("given", [{"cache": Path("somewhere")}, {"recompute": True}])
def test_a_fit_refuses_them_before_its_data_is_opened(given: dict[str, Any], tmp_path: Path) -> None:
    config = SegmentationFit(**PUBLISHED, data="folder:missing")
    (name,) = given
    with pytest.raises(ConfigError, match=rf"^{name} = .* would have no effect"):
        fit_task(find_task("segmentation"), config, Runtime(out=tmp_path, **given))


def test_recipes_set_nothing_without_effect() -> None:
    for name in ("segmentation", "depth", "normals", "linear", "knn", "two-view", "people"):
        for recipe in find_task(name).recipes.values():
            assert (
                type(recipe)(**{f.name: getattr(recipe, f.name) for f in dataclasses.fields(recipe)})
                == recipe
            )
