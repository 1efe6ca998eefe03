"""Several images on one canvas, against separate passes."""

import pytest
import torch

from codistill.encoders.registry import FunctionEncoder
from codistill.errors import ConfigError
from codistill.teachers.mosaic import in_mosaic
from codistill.teachers.teacher import Teacher, TeacherConfig
from codistill.types import EncoderSpec, Tokens

PATCH = 4
torch.manual_seed(0)
CONV = torch.nn.Conv2d(3, 5, PATCH, stride=PATCH)  # sees one cell: its windows divide every tile


class Counting:
    """A convolution as an encoder, which keeps the shapes of what it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, images: torch.Tensor) -> Tokens:
        self.seen.append(tuple(images.shape))
        found = CONV(images)
        return Tokens(found.flatten(2).transpose(1, 2), (found.shape[2], found.shape[3]))


@pytest.mark.parametrize("batch", [1, 4, 5, 9])
@pytest.mark.parametrize("side", [2, 3, 7])
def test_slices_are_separate_passes(batch: int, side: int) -> None:
    """A canvas of 7: nine images of 2 (tiles of 2), four of 3 (tiles of 3), one of 7."""
    encode, images = Counting(), torch.randn(batch, 3, side * PATCH, side * PATCH)
    found = in_mosaic(encode, images, PATCH, 7)
    per_sheet = (7 // side) ** 2
    assert encode.seen == [(-(-batch // per_sheet), 3, 28, 28)]
    assert found.grid == (side, side) and found.cls is None
    for number in range(batch):
        alone = CONV(images[number : number + 1]).flatten(2).transpose(1, 2)
        torch.testing.assert_close(found.patches[number : number + 1], alone)


def test_what_lies_between_the_images_is_zero() -> None:
    sheets: list[torch.Tensor] = []

    def encode(images: torch.Tensor) -> Tokens:
        sheets.append(images)
        return Counting()(images)

    in_mosaic(encode, torch.ones(5, 3, 8, 8), PATCH, 5)  # two of 2 per side, in tiles of 2
    (sheet,) = sheets
    assert sheet.shape == (2, 3, 20, 20)
    assert sheet[0].sum() == 4 * 3 * 64 and sheet[1].sum() == 3 * 64
    assert not sheet[:, :, 16:].any() and sheet[1, :, :8, :8].all()
    with pytest.raises(ValueError, match="images of 6 tokens per side are larger than the canvas of 5"):
        in_mosaic(encode, torch.ones(1, 3, 24, 24), PATCH, 5)


def teacher(**options: object) -> tuple[Teacher, Counting]:
    counting = Counting()
    spec = EncoderSpec(name="conv", dim=5, patch_size=PATCH, has_cls=False)
    config = TeacherConfig(name="conv", kinds=("patch",), image_size=32, **options)  # type: ignore[arg-type]
    return Teacher(config, FunctionEncoder(spec, counting)), counting


def test_a_teacher_packs_what_fits_twice_and_resizes_the_rest() -> None:
    packing, seen = teacher(mosaic=True)
    plain, _ = teacher()
    small = torch.randn(6, 3, 42, 42)  # a student of 14 pixels per token: a grid of 3, so 12 pixels
    tokens = packing(small, 14)
    assert seen.seen == [(2, 3, 32, 32)] and tokens.grid == (3, 3)
    large = torch.randn(2, 3, 84, 84)  # a grid of 6 on a canvas of 8: one image would waste half of it
    torch.testing.assert_close(packing(large, 14).patches, plain(large, 14).patches)


@pytest.mark.parametrize("options", [{"mosaic": True}, {"mosaic": True, "image_size": 32, "kinds": None}])
def test_a_mosaic_needs_a_canvas_and_patches_alone(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="needs image_size, the side of the canvas, and kinds = patch"):
        TeacherConfig(name="sam", **options)  # type: ignore[arg-type]
