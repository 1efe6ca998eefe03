"""A teacher: a frozen encoder, its data domain, and which of its tokens are targets.

DINOv2, MASt3R's encoder, Multi-HMR's backbone, a timm model or a user's own network can all be teachers. Source: DUNE,
section 4.1.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from codistill.encoders.base import Encoder
from codistill.errors import ConfigError, unknown_name
from codistill.nn.precision import Precision
from codistill.teachers.precision import PRECISIONS, TeacherPrecision, prepared
from codistill.teachers.views import StepViews, resize_images
from codistill.types import Domain, TokenKind, Tokens


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """A teacher by name.

    Attributes:
        name: of its projectors, losses and statistics in logs and checkpoints.
        encoder: what `load_encoder` accepts: a known name, a file, a run, `timm:NAME`, `hf:org/repo`; empty: `name`.
        domain: the data domain it was made for. Sharing compares it with each image's domain.
        kinds: its targets. None: cls and patch where the encoder has a class token, else patch.
        norm: whether targets are taken after the encoder's final norm.
        precision: `same` as the step's, `auto`, `fp32`, `bf16`, `autocast` or `int8`: see `teachers/precision.py`.
        weight: factor of its losses; dropping compares them without it.
        image_size: side in pixels of its input images, whatever the student's; its patch tokens are then resized to the
            student's grid (see `DistillConfig.alignment`). None (published): the size at which the grids match.
        image_sizes: sides to draw from in each step, independently of the student's and other teachers' (EUPE);
            held-out images have the largest. Empty: `image_size`.
    """

    name: str
    encoder: str = ""
    domain: Domain = "generic"
    kinds: tuple[TokenKind, ...] | None = None
    norm: bool = True
    precision: TeacherPrecision = "same"
    weight: float = 1.0
    image_size: int | None = None
    image_sizes: tuple[int, ...] = ()

    @property
    def own_sizes(self) -> tuple[int, ...]:
        """Sides of its input images, whatever the student's; empty: the side at which the grids match."""
        return self.image_sizes or (() if self.image_size is None else (self.image_size,))

    def __post_init__(self) -> None:
        if self.image_size is not None and self.image_sizes:
            raise ConfigError(
                f"teacher {self.name!r} has image_size = {self.image_size} and image_sizes = {self.image_sizes}: "
                "keep one"
            )
        if any(size < 1 for size in self.own_sizes) or len(set(self.image_sizes)) != len(self.image_sizes):
            raise ConfigError(
                f"image sizes of teacher {self.name!r} must be positive, and different; got {self.own_sizes}"
            )
        if not self.name or "." in self.name or "/" in self.name:
            raise ConfigError(f"a teacher's name must not be empty or hold '.' or '/'; got {self.name!r}")
        if self.kinds is not None and (not self.kinds or not set(self.kinds) <= {"cls", "patch"}):
            raise ConfigError(
                f"token kinds of teacher {self.name!r} must be cls and/or patch; got {self.kinds}"
            )
        if self.precision not in PRECISIONS:
            raise ConfigError(
                unknown_name(f"precision of teacher {self.name!r}:", self.precision, PRECISIONS)
            )
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ConfigError(
                f"weight of teacher {self.name!r} must be a number of 0 or more; got {self.weight}"
            )


def resize_for_patch(images: Tensor, student_patch: int, teacher_patch: int) -> Tensor:
    """A student's crop resized for another patch size, so that the grids match.

    Bicubic with align_corners=True, as published; the same tensor if the patch sizes are equal.
    """
    if student_patch == teacher_patch:
        return images
    height, width = images.shape[-2:]
    size = (height // student_patch * teacher_patch, width // student_patch * teacher_patch)
    return interpolate(images, size=size, mode="bicubic", align_corners=True)


def resize_tokens(tokens: Tokens, grid: tuple[int, int]) -> Tokens:
    """Tokens whose patches, seen as a map, are resized bilinearly to another grid, in fp32; the class token stays."""
    if tokens.grid == grid:
        return tokens
    shrinking = grid[0] < tokens.grid[0] or grid[1] < tokens.grid[1]
    maps = interpolate(
        tokens.feature_map().float(), size=grid, mode="bilinear", align_corners=False, antialias=shrinking
    )
    return Tokens(maps.flatten(2).transpose(1, 2), grid, tokens.cls, normed=tokens.normed)


class Teacher(nn.Module):
    """A frozen encoder with a domain and token kinds.

    Args:
        config: see `TeacherConfig`.
        encoder: as loaded; the teacher may keep a copy of it in its precision.
        device: where it will run.
        step: precision of the steps that it runs in; None leaves `same` to the autocast around each call.

    Attributes:
        autocast_dtype: fp32 for none, None for that of the caller.
    """

    def __init__(
        self,
        config: TeacherConfig,
        encoder: Encoder,
        *,
        device: torch.device | str = "cpu",
        step: Precision | None = None,
    ) -> None:
        super().__init__()
        spec = encoder.spec
        kinds = config.kinds or (("cls", "patch") if spec.has_cls else ("patch",))
        if "cls" in kinds and not spec.has_cls:
            raise ConfigError(
                f"teacher {config.name!r} ({spec.name}) has no class token, so its kinds must be (patch,); got {kinds}"
            )
        if "cls" in kinds and spec.cls_dim is not None:
            raise ConfigError(
                f"the summary of teacher {config.name!r} ({spec.name}) has {spec.cls_dim} channels, its patches "
                f"{spec.dim}: one projector cannot learn both. Choose one of several summary tokens (summary=0 behind "
                "the encoder's name), or teach patches alone: kinds=patch"
            )
        for size in config.own_sizes:
            if size % spec.patch_size:
                near = max(1, round(size / spec.patch_size)) * spec.patch_size
                raise ConfigError(
                    f"image_size {size} of teacher {config.name!r} is not a multiple of its patch size "
                    f"{spec.patch_size}; nearest: {near}"
                )
        self.config = config
        self.kinds: tuple[TokenKind, ...] = kinds
        encoder = encoder.eval().requires_grad_(False)
        self.encoder, self.autocast_dtype = prepared(encoder, config.precision, device, step)

    def train(self, mode: bool = True) -> "Teacher":
        """Teachers always stay in evaluation mode."""
        return super().train(False)

    def forward(self, images: Tensor, student_patch: int, views: StepViews | None = None) -> Tokens:
        """Targets for a student's crop.

        Args:
            images: (batch, 3, row, column), ImageNet-normalized; without `views`, multiples of `student_patch`.
            student_patch: the student's patch size. The image is resized so that grids match; or to the teacher's
                image_size, and then its patch tokens are resized.
            views: of the step; `images` are then its crops, of which the teacher sees its own window.

        Raises:
            ConfigError: if the grids still differ, or images are not square for a teacher with an image_size.
        """
        name, sizes = self.config.name, self.config.own_sizes
        if views is None:
            grid = (images.shape[-2] // student_patch, images.shape[-1] // student_patch)
            return self._tokens(images, student_patch, grid, max(sizes, default=None), own_grid=False)
        window = views.window(images, views.shift(name))
        size = views.sizes.get(name, max(sizes, default=None))
        return self._tokens(
            window, student_patch, (views.tokens, views.tokens), size, own_grid=views.own_grids
        )

    def _tokens(
        self, images: Tensor, student_patch: int, grid: tuple[int, int], size: int | None, *, own_grid: bool
    ) -> Tokens:
        """Tokens of images at a side, on the student's grid or their own; None: the side at which the grids match."""
        patch = self.encoder.spec.patch_size
        if size is not None:
            return self._at_own_size(images, size, None if own_grid else grid)
        if images.shape[-2:] == (grid[0] * student_patch, grid[1] * student_patch):
            images = resize_for_patch(images, student_patch, patch)
        else:  # from the crop itself, not from the student's copy of it
            images = resize_images(images, grid[0] * patch)
        tokens = self.encoder(images, norm=self.config.norm)
        if tokens.grid != grid:
            raise ConfigError(
                f"teacher {self.config.name!r} ({self.encoder.spec.name}) gives a {tokens.grid[0]}x{tokens.grid[1]} "
                f"grid where the student has {grid[0]}x{grid[1]}: its spec says patch_size {patch}, which must be its "
                "stride"
            )
        return tokens

    def _at_own_size(self, images: Tensor, size: int, grid: tuple[int, int] | None) -> Tokens:
        if images.shape[-1] != images.shape[-2]:
            raise ConfigError(
                f"teacher {self.config.name!r} has an image_size of its own, which needs square images; got "
                f"{images.shape[-2]}x{images.shape[-1]}"
            )
        tokens = self.encoder(resize_images(images, size), norm=self.config.norm)
        return tokens if grid is None else resize_tokens(tokens, grid)
