"""A pattern that matches no image is refused; one that matches, a named one and none at all are not."""

from dataclasses import replace
from pathlib import Path

import pytest

from codistill.data.pattern_use import check_patterns_match
from codistill.data.source import SourceConfig
from codistill.errors import DataError


@pytest.fixture
def photos(tmp_path: Path) -> SourceConfig:
    for name in ("a/cat1.jpg", "a/cat2.jpg", "b/dog.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"image")
    return SourceConfig(name="photos", path=str(tmp_path), expected=2)


def test_what_matches_is_accepted(photos: SourceConfig) -> None:
    check_patterns_match(photos)
    check_patterns_match(replace(photos, include=("a/*", "*.png"), exclude=("*cat2*", "@imagenet1k")))


@pytest.mark.parametrize(
    "change", [{"exclude": ("cta*",)}, {"include": ("a/*", "c/*")}, {"exclude": ("*.JPG", "a/*")}]
)
def test_a_slip_is_named(photos: SourceConfig, change: dict[str, tuple[str, ...]]) -> None:
    wrong = {("cta*",): "cta", ("a/*", "c/*"): "c/", ("*.JPG", "a/*"): "JPG"}[next(iter(change.values()))]
    with pytest.raises(
        DataError, match=f"source 'photos': '[^']*{wrong}[^']*' among .* none of its 3 images"
    ):
        check_patterns_match(replace(photos, **change))
