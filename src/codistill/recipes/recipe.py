"""A recipe: one frozen object that defines a distillation, saved as YAML in the run.

`recipes/build.py` builds from it. Recipes derive from recipes by `replace`.
"""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from codistill.data import AugmentConfig, LoaderConfig, MixConfig, SourceConfig
from codistill.distill.config import DistillConfig
from codistill.engine.optim import OptimConfig
from codistill.engine.settings import EngineConfig
from codistill.errors import ConfigError
from codistill.files.config import CHANGEABLE
from codistill.student.projectors import ProjectorConfig
from codistill.teachers.teacher import TeacherConfig
from codistill.world.build import WorldConfig
from codistill.world.dataset import world_source

IMAGENET_EPOCH = 1_281_167
"""Images of an "epoch" of the published schedules: the size of ImageNet-1K's training set, for any data."""


@dataclass(frozen=True, kw_only=True)
class StudentConfig:
    """The encoder to train and its projectors.

    Attributes:
        size: `vit_tiny`, `vit_small`, `vit_base`, `vit_large`, `vit_giant`.
        dim, depth, num_heads: replace the size's values.
        network: `timm:NAME`, a convolutional or hybrid network in place of a vision transformer, from random weights
            (`timm:NAME,pretrained=true`: from timm's); `patch_size` is then its pixels per token, 32 for most.
        patch_size, num_registers, layer_scale, drop_path, window, num_global: see `ViTConfig`.
        class_tokens: `shared`: one for all teachers, or one `per_teacher` that wants one (RADIO): the class token is
            the first's, further registers, before the `num_registers` others, are the next ones'.
        projector: see `ProjectorConfig`.
        init: weights to start from: a run (a second stage), an export, a released file or a known name; projectors of
            the same teachers are taken if they fit. Empty: a fresh student.
        freeze_encoder: train only the projectors: a new teacher for a released encoder, or a baseline.
        ema: decay of a moving average of the weights, in [0, 1), saved beside them and exported instead; 0: none.
        damp: standard deviation of multiplicative noise on the encoder's weights in every training pass; 0: none.
    """

    size: str = "vit_base"
    dim: int | None = None
    depth: int | None = None
    num_heads: int | None = None
    network: str = ""
    patch_size: int = 14
    num_registers: int = 4
    class_tokens: Literal["shared", "per_teacher"] = "shared"
    layer_scale: float | None = 1e-4
    drop_path: float = 0.0
    window: int = 0
    num_global: int = 4
    projector: ProjectorConfig = field(default_factory=ProjectorConfig)
    init: str = ""
    freeze_encoder: bool = False
    ema: float = 0.0
    damp: float = 0.0

    def __post_init__(self) -> None:
        if self.class_tokens not in ("shared", "per_teacher"):
            raise ConfigError(
                f"student.class_tokens must be shared or per_teacher; got {self.class_tokens!r}"
            )
        if not 0.0 <= self.damp < math.inf:
            raise ConfigError(f"student.damp must be a finite number, 0 or more; got {self.damp}")
        if not 0.0 <= self.ema < 1.0:
            raise ConfigError(f"student.ema must be in [0, 1), 0 for none; got {self.ema}")


_UNSAID_LENGTH = EngineConfig(total_steps=1000)
"""The engine of a recipe that gives none: itself, not its equals, so that `epochs` may say the length."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A distillation.

    Attributes:
        name, about: shown by `codistill distill --list`.
        use: what the weights are for: `commercial` refuses teachers and initial weights whose licence, with all that
            it inherits, does not allow that; `any` leaves it to you.
        image_size: side of the student's square crops in pixels, and of its positional embedding.
        image_sizes: sides to draw from in each step (multi-resolution training); a step's batch then has about as many
            tokens as `loader.batch_size` images of `image_size`. Empty: always `image_size`.
        aspects: widths over heights to draw from in each step, of images with as many tokens as a square of the step's
            size, or slightly fewer. Empty: squares.
        epochs: length in passes of 1 281 167 images (the published unit), from which `engine.total_steps` follows.
            None: `engine.total_steps` sets the length.
        student, teachers, distill, optim, engine: the method; see the classes.
        sources, mix, augment, loader: the training data; `loader.batch_size` is the global batch.
        validation: held-out sources.
        world, world_path: an embedded world that the run needs, and its folder: built first if missing or unfinished.
            Its training and test splits come after `sources` and `validation`.
    """

    name: str
    about: str = ""
    use: Literal["any", "commercial"] = "any"
    image_size: int = 336
    image_sizes: tuple[int, ...] = ()
    aspects: tuple[float, ...] = ()
    epochs: float | None = None
    student: StudentConfig = field(default_factory=StudentConfig)
    teachers: tuple[TeacherConfig, ...] = ()
    sources: tuple[SourceConfig, ...] = ()
    validation: tuple[SourceConfig, ...] = ()
    world: WorldConfig | None = None
    world_path: str = field(default="", metadata=CHANGEABLE)
    mix: MixConfig = field(default_factory=MixConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    engine: EngineConfig = _UNSAID_LENGTH

    def __post_init__(self) -> None:
        if self.use not in ("any", "commercial"):
            raise ConfigError(f"use must be any or commercial; got {self.use!r}")
        for size in (self.image_size, *self.image_sizes):
            if size < 1 or size % self.student.patch_size:
                near = max(1, round(size / self.student.patch_size)) * self.student.patch_size
                raise ConfigError(
                    f"image size {size} is not a multiple of the student's patch size "
                    f"{self.student.patch_size}; nearest: {near}"
                )
        if any(not 1 / 8 <= aspect <= 8 for aspect in self.aspects) or len(set(self.aspects)) != len(
            self.aspects
        ):
            raise ConfigError(
                f"aspects, widths over heights, must be different numbers from 1/8 to 8; got {self.aspects}"
            )
        if self.world is not None and not self.world_path:
            raise ConfigError("a recipe with a world needs world_path, the world's folder")
        if self.epochs is not None and not 0 < self.epochs < math.inf:
            raise ConfigError(
                f"epochs must be positive, or null to count engine.total_steps; got {self.epochs}"
            )
        if self.epochs is not None and self.engine is _UNSAID_LENGTH:
            object.__setattr__(self, "engine", self.with_length().engine)
        for what, items in (("teacher", self.teachers), ("source", self.sources)):
            names = [item.name for item in items]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ConfigError(f"{what} names must differ; {', '.join(twice)} occurs more than once")

    @property
    def training_sources(self) -> tuple[SourceConfig, ...]:
        """All training sources, the world's included."""
        return (*self.sources, *self._world_sources("train"))

    @property
    def held_out_sources(self) -> tuple[SourceConfig, ...]:
        """All held-out sources, the world's included."""
        return (*self.validation, *self._world_sources("test"))

    def _world_sources(self, split: str) -> tuple[SourceConfig, ...]:
        if self.world is None:
            return ()
        return tuple(world_source(Path(self.world_path), domain, split) for domain in self.world.domains)

    def with_length(self) -> "Recipe":
        """The recipe with `engine.total_steps` computed from `epochs` and its batch; itself without `epochs`."""
        if self.epochs is None:
            return self
        steps = published_steps(self.epochs, self.loader.batch_size)
        return replace(self, engine=replace(self.engine, total_steps=steps))

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        if self.epochs is None:
            return self.engine.total_steps
        return published_steps(self.epochs, self.loader.batch_size)


def published_steps(epochs: float, global_batch: int) -> int:
    """Steps of a published schedule: ceil(epochs * 1 281 167 / global batch), plus one if that is odd."""
    steps = math.ceil(epochs * IMAGENET_EPOCH / global_batch)
    return steps + steps % 2
