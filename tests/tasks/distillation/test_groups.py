import numpy as np
import pytest

from codistill.commands.evaluate_distillation import _intervals, _with_groups
from codistill.data import SourceConfig
from codistill.errors import ConfigError, DataError
from codistill.recipes.small import REAL_MINI_RECIPE
from codistill.tasks.distillation.evaluate import PerImage


def result(*images: tuple[str, str]) -> PerImage:
    values = np.linspace(0.2, 0.9, len(images))
    return PerImage(values, tuple(of for of, _ in images), tuple(name for _, name in images))


def test_frames_of_a_camera_and_halves_of_a_pair_are_groups_of_real_mini():
    found = result(
        *(("street", f"vtest_06{index}.jpg") for index in range(30, 40)),
        *(("stereo", f"{side}{number}.jpg") for number in ("04", "08") for side in ("left", "right")),
        ("stereo", "aero1.jpg"),
        ("stereo", "aero3.jpg"),
        ("photographs", "cat.jpg"),
        ("photographs", "dog.jpg"),
    )
    sources = REAL_MINI_RECIPE.held_out_sources
    intervals = _intervals(found, sources)
    assert {name: one.groups for name, one in intervals.items()} == {
        "all": 6,
        "photographs": 2,
        "stereo": 3,
        "street": 1,
    }
    assert intervals["street"].low is None and intervals["stereo"].low is not None
    assert "photographs: each image alone, no rule" in found.groups(sources).kind


def test_a_rule_may_be_given_later_and_must_fit_every_image():
    source = SourceConfig(name="drive", path="x")
    (grouped,) = _with_groups([source], [r"drive=city_\d+"])
    assert grouped.group_of("city_04/0001.jpg") == grouped.group_of("city_04/0002.jpg") == "drive: city_04"
    assert source.group_of("a.jpg") != source.group_of("b.jpg")
    with pytest.raises(DataError, match=r"match nothing in 'town/0001.jpg'"):
        grouped.group_of("town/0001.jpg")
    with pytest.raises(ConfigError, match="write SOURCE=REGEX"):
        _with_groups([source], ["drive"])
    with pytest.raises(ConfigError, match=r"held-out source.*drive"):
        _with_groups([source], ["drife=a"])
    with pytest.raises(ConfigError, match="must be a regular expression"):
        _with_groups([source], ["drive=("])
