import numpy as np
import pytest

from codistill.errors import ConfigError
from codistill.world.categories import CATEGORIES
from codistill.world.identity import SceneId
from codistill.world.objects import guest_of

pytest.importorskip("embreex", reason="needs the extra `world`")

from codistill.world.compose import compose
from codistill.world.pairs import rotation_between
from codistill.world.sample import encode_views, render_views


def scene(domain="objects", split="train", index=0, seed=0):
    return SceneId(seed=seed, domain=domain, split=split, index=index)


def test_a_scene_is_a_function_of_its_name():
    first, again = (encode_views(scene(index=3), render_views(scene(index=3), 48)) for _ in range(2))
    assert first == again
    other = encode_views(scene(index=3, split="test"), render_views(scene(index=3, split="test"), 48))
    assert other[0][0] != first[0][0]
    assert other[0][1]["jpg"] != first[0][1]["jpg"]


def test_every_class_takes_its_turn_and_is_there():
    guests = {guest_of(scene(index=i)) for i in range(len(CATEGORIES))}
    assert guests == set(CATEGORIES)
    for index in (0, 9, 17, 26):
        shot = compose(scene(index=index, split="val"), 48)
        assert guest_of(scene(index=index, split="val")) in shot.names.values()


def test_pictures_are_never_black_blank_or_empty_of_things():
    for index in range(8):
        (view,) = render_views(scene(index=index), 64)
        assert 25 < view.rgb.mean() < 225
        assert view.rgb.std() > 12
        assert (view.instance > 0).mean() > 0.02
        assert (view.depth[np.isfinite(view.depth)] < 65.5).all()
        assert view.label.max() < 255


def test_both_views_of_a_room_keep_to_the_limits():
    for index in range(3):
        shot = compose(scene("rooms", index=index), 64)
        first, second = shot.cameras
        assert 0.1 <= np.linalg.norm(first.pose[:3, 3] - second.pose[:3, 3]) <= 2.0
        assert rotation_between(first, second) <= 60.0
        for camera in shot.cameras:
            np.testing.assert_allclose(camera.pose[:3, :3].T @ camera.pose[:3, :3], np.eye(3), atol=1e-9)
            assert np.linalg.det(camera.pose[:3, :3]) == pytest.approx(1.0)


def test_wrong_names_say_what_there_is():
    with pytest.raises(ConfigError, match="Known: objects, people, rooms"):
        scene("object")
    with pytest.raises(ConfigError, match="split"):
        scene(split="valid")
