"""Views of a step: the window of a crop that the student and each teacher see, and its size.

    plan = ViewPlan(seed=0, patch_size=16, student=(256, 384, 512), teachers={"dino": (256, 384, 512)})
    views = plan.of_step(step)         # a function of (seed, step) alone: any rank, any resume
    views.canvas                       # side of the square crop to load
    views.student_images(crop)

Independent scales (EUPE, arXiv 2603.22387): student and teachers draw their own sizes. All images are resized from one
crop as large as the largest of them, never from one another. Sizes are drawn uniformly, once per step for all ranks
(not published).

Shifts (C-RADIOv4, arXiv 2601.17237): the crop has a margin around the student's window, and each teacher's window is
shifted by whole student tokens. The largest shift was not published; the normal draw is that of NVIDIA's TAO.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor
from torch.nn.functional import interpolate

from codistill.data.randomness import RESOLUTION, SHIFT, TEACHER_SIZE, generator
from codistill.errors import ConfigError, unknown_name

DRAWS = ("uniform", "normal")


@dataclass(frozen=True, kw_only=True)
class ShiftConfig:
    """Shifted views of teachers (and of the student's moving average); one draw per step and network.

    Attributes:
        most: largest shift along each axis, in student tokens; the crop grows by twice as many. 0: none.
        draw: `uniform` from -most to most, or `normal`: with standard deviation `sigma`, rounded and clipped to `most`
            (TAO).
        sigma: standard deviation in tokens.
    """

    most: int = 0
    draw: Literal["uniform", "normal"] = "uniform"
    sigma: float = 0.5

    def __post_init__(self) -> None:
        if self.most < 0:
            raise ConfigError(f"distill.shift.most must be 0 or more tokens; got {self.most}")
        if self.draw not in DRAWS:
            raise ConfigError(unknown_name("distill.shift.draw", self.draw, DRAWS))
        if not 0 < self.sigma < float("inf"):
            raise ConfigError(f"distill.shift.sigma must be a positive number of tokens; got {self.sigma}")


Shift = tuple[int, int]
"""Rows and columns, in student tokens, by which a window lies below and right of the student's."""


@dataclass(frozen=True, kw_only=True)
class StepViews:
    """Windows and sizes of one step.

    Attributes:
        size: side of the student's images, in pixels.
        tokens: student tokens per side.
        pitch: pixels of the crop per student token; the crop has `margin` more tokens on each side.
        canvas: side of the crop, in pixels.
        sizes: side of a teacher's images, for teachers with sizes of their own.
        shifts: of each teacher, and of the student's moving average under "".
        own_grids: whether teachers' tokens stay on their own grids.
    """

    size: int
    tokens: int
    pitch: float
    canvas: int
    margin: int = 0
    sizes: Mapping[str, int] = field(default_factory=dict[str, int])
    shifts: Mapping[str, Shift] = field(default_factory=dict[str, Shift])
    own_grids: bool = False

    @property
    def largest(self) -> int:
        """Largest side that any network sees."""
        return max(self.size, *self.sizes.values()) if self.sizes else self.size

    def shift(self, name: str) -> Shift:
        """The shift of a teacher, or of the student's moving average ("")."""
        return self.shifts.get(name, (0, 0))

    def window(self, crop: Tensor, shift: Shift = (0, 0)) -> Tensor:
        """Return the part (batch, 3, side, side) of a crop that is `tokens` wide, shifted from the middle; a view.

        Raises:
            ValueError: if the crop does not have this step's size.
        """
        if crop.shape[-2:] != (self.canvas, self.canvas):
            raise ValueError(
                f"the crop of this step has {self.canvas} pixels per side; got {tuple(crop.shape)}"
            )
        if not self.margin:
            return crop
        side = self.tokens * int(self.pitch)
        top, left = ((self.margin + moved) * int(self.pitch) for moved in shift)
        return crop[..., top : top + side, left : left + side]

    def student_images(self, crop: Tensor, shift: Shift = (0, 0)) -> Tensor:
        """Return what the student sees of a crop: (batch, 3, row, column)."""
        return resize_images(self.window(crop, shift), self.size)


@dataclass(frozen=True, kw_only=True)
class ViewPlan:
    """The views of every step.

    Attributes:
        seed: of the run.
        patch_size: the student's.
        student: sizes from which the student draws.
        teachers: all teachers, and the sizes from which each draws; empty: the size at which its grid is the student's.
        shift: see the class.
        own_grids: see `StepViews`.
    """

    seed: int
    patch_size: int
    student: Sequence[int]
    teachers: Mapping[str, Sequence[int]]
    shift: ShiftConfig = field(default_factory=ShiftConfig)
    own_grids: bool = False

    def __post_init__(self) -> None:
        smallest = min(self.student) // self.patch_size
        if 2 * self.shift.most >= smallest:
            raise ConfigError(
                f"distill.shift.most = {self.shift.most} tokens leaves nothing in common: the student's smallest image "
                f"has {smallest} tokens per side. Take less than half of that, {max(0, (smallest - 1) // 2)} at most."
            )

    def of_step(self, step: int) -> StepViews:
        """Windows and sizes of a 0-based step."""
        size = draw_size(self.seed, step, self.student)
        sizes = {
            name: draw_size(self.seed, step, of, teacher=name) for name, of in self.teachers.items() if of
        }
        largest = max(size, *sizes.values()) if sizes else size
        tokens, margin = size // self.patch_size, self.shift.most
        if not margin:
            pitch, canvas = largest / tokens, largest
        else:  # whole pixels per token, so that every window is a slice
            pitch = -(-largest // tokens)
            canvas = (tokens + 2 * margin) * pitch
        shifts = {name: self._shift(step, name) for name in (*self.teachers, "")} if margin else {}
        return StepViews(
            size=size,
            tokens=tokens,
            pitch=pitch,
            canvas=canvas,
            margin=margin,
            sizes=sizes,
            shifts=shifts,
            own_grids=self.own_grids,
        )

    def held_out(self, size: int) -> StepViews:
        """Views of held-out images of a size: nothing is shifted, and teachers use the largest of their sizes."""
        tokens = size // self.patch_size
        return StepViews(
            size=size, tokens=tokens, pitch=self.patch_size, canvas=size, own_grids=self.own_grids
        )

    def _shift(self, step: int, name: str) -> Shift:
        draws, most = generator(self.seed, SHIFT, step, _slot(name)), self.shift.most
        if self.shift.draw == "uniform":
            row, column = draws.integers(-most, most + 1, size=2)
        else:
            row, column = (draws.normal(0.0, self.shift.sigma, size=2).round().clip(-most, most)).astype(int)
        return int(row), int(column)


def draw_size(seed: int, step: int, sizes: Sequence[int], teacher: str | None = None) -> int:
    """Draw one of some sizes, by (seed, step) and the teacher's name; None: the student's draw."""
    if len(sizes) == 1:
        return sizes[0]
    if teacher is None:
        draws = generator(seed, RESOLUTION, step)
    else:
        draws = generator(seed, TEACHER_SIZE, step, _slot(teacher))
    return sizes[int(draws.integers(len(sizes)))]


def _slot(name: str) -> int:
    """Map a name to a number, so that adding a teacher does not change the draws of the others."""
    return zlib.crc32(name.encode())


def resize_images(images: Tensor, size: int) -> Tensor:
    """Resize square images (batch, 3, side, side) bicubically, with a low-pass filter when shrinking."""
    if images.shape[-2:] == (size, size):
        return images
    return interpolate(images, size=(size, size), mode="bicubic", antialias=True)
