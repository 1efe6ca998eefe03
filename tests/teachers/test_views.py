"""Views of steps: draws that depend on names alone, windows of crops, what teachers get of them."""

from collections import Counter

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from codistill.encoders.base import Encoder
from codistill.errors import ConfigError
from codistill.teachers.bank import TeacherBank
from codistill.teachers.teacher import Teacher, TeacherConfig
from codistill.teachers.views import ShiftConfig, ViewPlan, draw_size
from codistill.types import EncoderSpec, Tokens

SIZES = (256, 384, 512)


class Pixels(Encoder):
    """A teacher whose tokens are the means of its patches' pixels."""

    def __init__(self, patch: int) -> None:
        super().__init__()
        self.spec = EncoderSpec(name="pixels", dim=3, patch_size=patch, has_cls=False)

    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        maps = torch.nn.functional.avg_pool2d(images, self.spec.patch_size)
        return Tokens(patches=maps.flatten(2).transpose(1, 2), grid=tuple(maps.shape[-2:]), normed=norm)


def plan(**changes: object) -> ViewPlan:
    given = {"seed": 3, "patch_size": 16, "student": SIZES, "teachers": {"a": SIZES, "b": ()}}
    return ViewPlan(**{**given, **changes})  # type: ignore[arg-type]


def test_student_and_teachers_draw_alone_and_evenly() -> None:
    steps = [plan().of_step(step) for step in range(900)]
    pairs = Counter((views.size, views.sizes["a"]) for views in steps)
    assert len(pairs) == 9 and all(abs(count - 100) < 35 for count in pairs.values())  # 3.5 deviations
    assert all(views.canvas == max(views.size, views.sizes["a"]) == views.largest for views in steps)
    # A further teacher changes no one's draws; another seed does; any step can be had directly.
    more = plan(teachers={"c": SIZES, "a": SIZES, "b": ()}).of_step(7)
    assert (more.size, more.sizes["a"]) == (steps[7].size, steps[7].sizes["a"])
    assert [plan(seed=4).of_step(s).sizes for s in range(20)] != [views.sizes for views in steps[:20]]
    assert steps[7] == plan().of_step(7)
    assert draw_size(0, 5, (224,)) == 224


@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_shifts_lie_within_the_crop_and_follow_their_law(draw: str) -> None:
    shift = ShiftConfig(most=2, draw=draw)  # type: ignore[arg-type]
    views = [plan(shift=shift).of_step(step) for step in range(1000)]
    counts = Counter(one for v in views for one in v.shift("a"))
    share = {k: counts[k] / 2000 for k in range(-2, 3)}
    assert sum(counts.values()) == 2000 and max(counts) <= 2
    wanted = (
        dict.fromkeys(range(-2, 3), 0.2)
        if draw == "uniform"
        else {0: 0.683, 1: 0.157, -1: 0.157, 2: 0.0013, -2: 0.0013}
    )
    assert all(abs(share[k] - p) < 0.035 for k, p in wanted.items()), share
    assert any(v.shift("a") != v.shift("b") for v in views) and any(
        v.shift("") != v.shift("a") for v in views
    )
    for v in views[:50]:
        assert v.canvas == (v.tokens + 4) * v.pitch and v.tokens * v.pitch >= v.largest


def test_windows_are_slices_around_the_middle() -> None:
    views = plan(student=(64,), teachers={"a": ()}, shift=ShiftConfig(most=1)).of_step(0)
    crop = torch.arange(96 * 96, dtype=torch.float32).view(1, 1, 96, 96)
    assert torch.equal(views.student_images(crop), crop[..., 16:80, 16:80])
    assert torch.equal(views.window(crop, (1, -1)), crop[..., 32:96, 0:64])
    with pytest.raises(ValueError, match="the crop of this step has 96 pixels per side"):
        views.window(crop[..., 1:])


def test_every_copy_is_made_from_the_crop() -> None:
    views = plan(student=(64,), teachers={"own": (128,), "match": ()}, own_grids=True).of_step(0)
    assert (views.canvas, views.size) == (128, 64)
    bank = TeacherBank(
        [
            Teacher(TeacherConfig(name="own", image_sizes=(128,)), Pixels(16)),
            Teacher(TeacherConfig(name="match"), Pixels(14)),
        ],
        16,
    )
    crop = torch.randn(2, 3, 128, 128)
    got = bank(crop, {}, views)
    assert got["own"].grid == (8, 8) and got["match"].grid == (4, 4)
    whole = torch.nn.functional.avg_pool2d(crop, 16).flatten(2).transpose(1, 2)
    torch.testing.assert_close(got["own"].patches, whole)
    small = interpolate(
        crop, size=(56, 56), mode="bicubic", antialias=True
    )  # not from the student's 64 pixels
    torch.testing.assert_close(
        got["match"].patches, torch.nn.functional.avg_pool2d(small, 14).flatten(2).transpose(1, 2)
    )
    on_students = bank(crop, {}, plan(student=(64,), teachers={"own": (128,), "match": ()}).of_step(0))
    assert on_students["own"].grid == (4, 4)


def test_held_out_images_are_seen_at_the_largest_size() -> None:
    bank = TeacherBank([Teacher(TeacherConfig(name="a", image_sizes=(32, 64)), Pixels(16))], 16)
    assert bank(torch.randn(1, 3, 32, 32), {}, plan(own_grids=True).held_out(32))["a"].grid == (4, 4)
    assert bank(torch.randn(1, 3, 32, 32), {})["a"].grid == (2, 2)


def test_bad_sizes_and_shifts() -> None:
    with pytest.raises(
        ConfigError, match=r"most = 8 tokens leaves nothing in common: .* has 16 tokens .* 7 at most"
    ):
        plan(shift=ShiftConfig(most=8))
    with pytest.raises(ConfigError, match="0 or more tokens; got -1"):
        ShiftConfig(most=-1)
    with pytest.raises(ConfigError, match=r"Unknown distill\.shift\.draw 'gauss'"):
        ShiftConfig(draw="gauss")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="keep one"):
        TeacherConfig(name="a", image_size=32, image_sizes=(32, 64))
    with pytest.raises(ConfigError, match="positive, and different"):
        TeacherConfig(name="a", image_sizes=(32, 32))
    with pytest.raises(ConfigError, match=r"image_size 50 of teacher 'a' is not a multiple .* nearest: 48"):
        Teacher(TeacherConfig(name="a", image_sizes=(32, 50)), Pixels(16))
