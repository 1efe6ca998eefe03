"""A teacher: a frozen encoder, its data domain, and the token kinds that are its targets.

DINOv2, MASt3R's encoder, Multi-HMR's backbone, a timm model or a user's own network can be teachers. Source: DUNE,
section 4.1.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from codistill.encoders.base import Encoder
from codistill.errors import ConfigError, unknown_name
from codistill.nn.precision import Precision
from codistill.teachers.mosaic import in_mosaic
from codistill.teachers.precision import PRECISIONS, TeacherPrecision, prepared
from codistill.teachers.views import StepViews, resize_images
from codistill.types import Domain, TokenKind, Tokens


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """Configuration of a teacher.

    Attributes:
        name: of its projectors, losses and statistics in logs and checkpoints.
        encoder: what `load_encoder` accepts: a known name, a file, a run, `timm:NAME`, `hf:org/repo`; empty: `name`.
        domain: the data domain that it was made for. Data sharing compares it with the domain of each image.
        kinds: token kinds that are its targets. None: cls and patch if the encoder has a class token, else patch.
        norm: whether targets are taken after the encoder's final norm.
        precision: `same` as the step's, `auto`, `fp32`, `bf16`, `autocast` or `int8`: see `teachers/precision.py`.
        weight: factor of its losses; dropping compares losses without it.
        image_size: side in pixels of its input images, independent of the student's; its patch tokens are then resized
            to the student's grid (see `DistillConfig.alignment`). None (published): the size at which the grids match.
        image_sizes: sides from which each step draws one, independently of the student and other teachers (EUPE);
            held-out images have the largest. Empty: `image_size`.
        pool_predictions: compare its class tokens with the summary that its own frozen pool gives of the predicted
            patches, mapped back to its space (SigLino), instead of with a predicted class token; for encoders with a
            pool of patches.
        mosaic: pack several images into one of `image_size`, each at the size at which the grids match (see
            `teachers/mosaic.py`); for teachers with one fixed size whose targets are only patches.
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
    pool_predictions: bool = False
    mosaic: bool = False

    @property
    def own_sizes(self) -> tuple[int, ...]:
        """Sides of its input images, independent of the student's; empty: the side at which the grids match."""
        return self.image_sizes or (() if self.image_size is None else (self.image_size,))

    def __post_init__(self) -> None:
        if self.image_size is not None and self.image_sizes:
            raise ConfigError(
                f"teacher {self.name!r} has image_size = {self.image_size} and image_sizes = {self.image_sizes}: "
                "keep one"
            )
        if self.mosaic and (self.image_size is None or self.kinds != ("patch",)):
            raise ConfigError(
                f"mosaic of teacher {self.name!r} needs image_size, the side of the canvas, and kinds = patch (a "
                f"canvas has one summary for all of its images); got {self.image_size} and {self.kinds}"
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


def refuse_size(config: TeacherConfig, size: int, patch: int) -> None:
    """Raise ConfigError if a teacher's patch size does not divide an image size."""
    if size % patch:
        raise ConfigError(
            f"image_size {size} of teacher {config.name!r} is not a multiple of its patch size {patch}; nearest: "
            f"{max(1, round(size / patch)) * patch}"
        )


def refuse_no_summary(config: TeacherConfig, encoder: str) -> None:
    """Raise ConfigError if class tokens are wanted from a teacher whose encoder has none."""
    if "cls" in (config.kinds or ()):
        raise ConfigError(
            f"teacher {config.name!r} ({encoder}) has no class token, so its kinds must be (patch,); got "
            f"{config.kinds}. Where it has a pool, summary=pooled behind the encoder's name gives it one."
        )


def resize_for_patch(images: Tensor, student_patch: int, teacher_patch: int) -> Tensor:
    """Resize a student's crop (batch, 3, row, column) for another patch size, so that the grids match.

    Bicubic with align_corners=True, as published; the same tensor if the patch sizes are equal.
    """
    if student_patch == teacher_patch:
        return images
    height, width = images.shape[-2:]
    size = (height // student_patch * teacher_patch, width // student_patch * teacher_patch)
    return interpolate(images, size=size, mode="bicubic", align_corners=True)


def resize_tokens(tokens: Tokens, grid: tuple[int, int]) -> Tokens:
    """Resize the patches, as a map, bilinearly to another grid, in fp32. The class token is not changed."""
    if tokens.grid == grid:
        return tokens
    shrinking = grid[0] < tokens.grid[0] or grid[1] < tokens.grid[1]
    maps = interpolate(
        tokens.feature_map().float(), size=grid, mode="bilinear", align_corners=False, antialias=shrinking
    )
    return Tokens(maps.flatten(2).transpose(1, 2), grid, tokens.cls, normed=tokens.normed)


def refuse_pool(config: TeacherConfig, encoder: str, kinds: tuple[TokenKind, ...], pools: bool) -> None:
    """Raise ConfigError if a teacher cannot pool the patches that a student predicts for it.

    Args:
        config: with `pool_predictions`.
        encoder: its name, for the message.
        kinds: the token kinds that are its targets.
        pools: whether the encoder has a pool of patches (`Encoder.pools_patches`).
    """
    if set(kinds) != {"cls", "patch"}:
        raise ConfigError(
            f"pool_predictions of teacher {config.name!r} needs both token kinds, cls and patch; got {kinds}"
        )
    if not config.norm:
        raise ConfigError(f"teacher {config.name!r}: its pool reads normed patches; leave out norm = false")
    if not pools:
        raise ConfigError(
            f"teacher {config.name!r} ({encoder}) has no pool that reads patches alone (SigLIP has one: add "
            "summary=pooled behind its name). Leave out pool_predictions: its class token is then predicted."
        )


class Teacher(nn.Module):
    """A frozen encoder with a domain and token kinds.

    Args:
        config: see `TeacherConfig`.
        encoder: as loaded; the teacher may keep a copy of it in its precision.
        device: device on which it will run.
        step: precision of the steps that it runs in; None: `same` follows the autocast around each call.

    Attributes:
        autocast_dtype: dtype for autocast; fp32 for no autocast, None to leave that to the caller.
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
        if not spec.has_cls:
            refuse_no_summary(config, spec.name)
        if config.pool_predictions:
            refuse_pool(config, spec.name, kinds, encoder.pools_patches)
        for size in config.own_sizes:
            refuse_size(config, size, spec.patch_size)
        self.config = config
        self.kinds: tuple[TokenKind, ...] = kinds
        encoder = encoder.eval().requires_grad_(False)
        self.encoder, self.autocast_dtype = prepared(encoder, config.precision, device, step)

    @property
    def sees(self) -> Hashable:
        """A key that is equal for two teachers with equal tokens on equal images: one encoder, used in the same way."""
        config = self.config
        return id(self.encoder), self.autocast_dtype, config.norm, config.own_sizes, config.mosaic

    def width(self, kind: TokenKind) -> int:
        """Number of channels of its tokens of a kind."""
        spec = self.encoder.spec
        return spec.cls_dim or spec.dim if kind == "cls" else spec.dim

    @property
    def cls_dim(self) -> int | None:
        """Width of its class tokens, if both token kinds are targets and their widths differ; else None."""
        wide = self.width("cls")
        return wide if set(self.kinds) == {"cls", "patch"} and wide != self.width("patch") else None

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in evaluation mode, whatever the mode."""
        return super().train(False)

    def forward(self, images: Tensor, student_patch: int, views: StepViews | None = None) -> Tokens:
        """Compute the targets for a student's crop.

        Args:
            images: (batch, 3, row, column), ImageNet-normalized; without `views`, multiples of `student_patch`.
            student_patch: the student's patch size. The image is resized so that the grids match. With an image_size of
                the teacher, it is resized to that instead, and then the patch tokens are resized.
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
        """Compute tokens at a given side (None: where the grids match), on the student's grid or on their own."""
        patch = self.encoder.spec.patch_size
        if self.config.mosaic and self.config.image_size:
            canvas = self.config.image_size // patch
            if max(grid) <= canvas // 2:
                views = resize_images(images, grid[0] * patch)
                return in_mosaic(lambda x: self.encoder(x, norm=self.config.norm), views, patch, canvas)
            size = self.config.image_size
        if size is not None:
            return self._at_own_size(images, size, None if own_grid else grid)
        if images.shape[-2:] == (grid[0] * student_patch, grid[1] * student_patch):
            images = resize_for_patch(images, student_patch, patch)
        else:  # from the crop itself, not from the student's resized image
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
