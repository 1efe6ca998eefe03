"""The demo in a minute: a tiny world, two steps, all answers of the model that ships, and the page."""

from dataclasses import replace
from pathlib import Path

import pytest

from codistill.cli import main
from codistill.recipes.registry import find_recipe
from codistill.weights.shipped import shipped_models

pytest.importorskip("embreex", reason="needs the extra `world`")
pytest.importorskip("anny", reason="needs the extra `world`")

NEEDED = {"dune-tiny", "generic-tiny", "stereo-tiny", "people-tiny"}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's recipe on a world of 24 pictures."""
    from codistill.bodies.anny import anny_is_built

    if not anny_is_built():
        pytest.skip(
            "Anny is not built yet (one to four minutes); any `codistill world build` with people does it"
        )
    recipe = find_recipe("world-demo")
    assert recipe.world is not None
    world = replace(recipe.world, images=24, size=56, val_share=0.25, test_share=0.25)
    tiny = replace(recipe, world=world, loader=replace(recipe.loader, batch_size=4))
    monkeypatch.setattr("codistill.commands.demo.find_recipe", lambda _: tiny)


def test_everything_is_on_the_page(small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(shipped_models()) >= NEEDED  # they are part of the repository
    assert main(["demo", "--out", str(tmp_path / "demo"), "--steps", "2"]) == 0
    page = (tmp_path / "demo" / "index.html").read_text()
    for view in ("image", "features", "segmentation", "depth", "normals", "people"):
        assert page.count(f'data-view="{view}"') == 4, view
    assert page.count("<polyline") == 3  # a curve for each teacher
    assert "data-points=" in page
    assert "codistill serve --perception dune-tiny" in page
    world, run = tmp_path / "demo" / "world", tmp_path / "demo" / "run"
    assert f"codistill distill world-demo --world-path {world} --engine.total-steps 2 --out {run}" in page
    assert (tmp_path / "demo" / "index.html").resolve().as_uri() in capsys.readouterr().err.replace("\n", "")
    # Nothing is done twice: the run is resumed at its end, and the page is made again.
    assert main(["demo", "--out", str(tmp_path / "demo"), "--steps", "2"]) == 0


def test_a_photograph_that_is_missing_is_refused_before_anything_is_made(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--out", str(tmp_path / "demo"), "--photo", str(tmp_path / "cat.jpg")]) == 2
    assert "cat.jpg" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
