import numpy as np
import pytest

from codistill.errors import ConfigError
from codistill.world.categories import CATEGORIES
from codistill.world.looks import Palette
from codistill.world.things import build_thing


@pytest.mark.parametrize("name", sorted(CATEGORIES))
@pytest.mark.parametrize("novel", [False, True])
def test_things_stand_on_the_ground_with_a_plausible_size(name, novel):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        thing = build_thing(name, rng, Palette.draw(rng), novel)
        points = np.concatenate([mesh.vertices for _, mesh in thing.parts])
        assert np.isfinite(points).all()
        assert points[:, 2].min() == pytest.approx(0.0, abs=1e-4)
        assert 0.03 < thing.size.max() < 12
        assert sum(len(mesh.faces) for _, mesh in thing.parts) < 25_000
        for slot, mesh in thing.parts:
            assert mesh.faces.max() < len(mesh.vertices), slot
            assert slot in thing.materials, slot


@pytest.mark.parametrize("name", ["mug", "table", "car", "pumpkin", "bottle", "barrel"])
def test_solid_parts_face_outwards(name):
    trimesh = pytest.importorskip("trimesh")
    rng = np.random.default_rng(3)
    thing = build_thing(name, rng, Palette.draw(rng))
    for slot, mesh in thing.parts:
        assert trimesh.Trimesh(mesh.vertices, mesh.faces, process=True).volume > -1e-9, slot


def test_there_are_at_least_twenty_categories_with_styles_kept_from_training():
    assert len(CATEGORIES) >= 20
    for name in ("table", "chair", "tree", "lamp"):
        plain, other = (
            build_thing(name, np.random.default_rng(1), Palette.draw(np.random.default_rng(1)), novel)
            for novel in (False, True)
        )
        assert not np.allclose(plain.size, other.size), name


def test_a_toy_is_a_small_copy():
    palette = Palette.draw(np.random.default_rng(0))
    real = build_thing("house", np.random.default_rng(4), palette)
    toy = build_thing("house", np.random.default_rng(4), palette, scale=0.05)
    np.testing.assert_allclose(toy.size, real.size * 0.05, rtol=1e-4)


def test_an_unknown_category_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'chair'"):
        build_thing("chairs", np.random.default_rng(0), Palette.draw(np.random.default_rng(0)))
