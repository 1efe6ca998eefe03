"""A recipe: one frozen object that defines a distillation. It is saved as YAML in the run.

`recipes/build.py` builds teachers, student and data from it. Recipes derive from recipes by `replace`.
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
"""Images of an "epoch" of the published schedules: the size of ImageNet-1K's training set, whatever the data."""


@dataclass(frozen=True, kw_only=True)
class StudentConfig:
    """The encoder to train and its projectors.

    Attributes:
        size: `vit_tiny`, `vit_small`, `vit_base`, `vit_large`, `vit_giant`.
        dim, depth, num_heads: replace the size's values.
        network: `timm:NAME`: a convolutional or hybrid network instead of a vision transformer, with random weights
            (`timm:NAME,pretrained=true`: with timm's weights). `patch_size` is then its number of pixels per token, 32
            for most.
        patch_size: pixels per side of a patch.
        num_registers: register tokens.
        layer_scale: initial value of LayerScale; None: no LayerScale.
        drop_path: stochastic-depth rate of the last block, growing linearly from 0.
        window: tokens per side of attention windows (ViTDet); 0: every block sees the whole image.
        num_global: blocks that see the whole image where others have windows, evenly spread.
        class_tokens: `shared`: one class token for all teachers. `per_teacher`: one for each teacher that has class
            tokens to predict (RADIO): the student's class token for the first, further registers for the others; these
            come before the `num_registers` ordinary ones.
        projector: see `ProjectorConfig`.
        init: weights to start from: a run (for a second stage), an export, a released file or a known name. Projectors
            of the same teachers are also loaded if they fit. Empty: random weights.
        freeze_encoder: train only the projectors, e.g. to add a teacher to a released encoder, or as a baseline.
        ema: decay of a moving average (EMA) of the weights, in [0, 1). It is saved with the weights, and exported
            instead of them; 0: none.
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
"""The engine of a recipe that gives none. It is recognized by identity; `epochs` may then set its number of steps."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A distillation.

    Attributes:
        name, about: shown by `codistill distill --list`.
        use: intended use of the weights. `commercial` refuses teachers and initial weights whose licence, including the
            licences it inherits, does not allow commercial use; `any` leaves this to you.
        image_size: side of the student's square crops in pixels; also the size of its positional embedding.
        image_sizes: sides from which each step draws one (multi-resolution training). The batch of a step then has
            about as many tokens as `loader.batch_size` images of `image_size`. Empty: always `image_size`.
        aspects: ratios of width to height from which each step draws one. The images have as many tokens as a square of
            the step's size, or slightly fewer. Empty: squares.
        epochs: length of the run in passes of 1 281 167 images (the published unit); `engine.total_steps` follows from
            it. None: `engine.total_steps` sets the length.
        student, teachers, distill, optim, engine: the method; see the classes.
        sources, mix, augment, loader: the training data; `loader.batch_size` is the global batch.
        validation: held-out sources.
        world, world_path: an embedded world that the run needs, and its folder. It is built first if it is missing or
            unfinished. Its training and test splits are added after `sources` and `validation`.
    """

    name: str
    about: str = field(default="", metadata=CHANGEABLE)
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
        """All training sources, including the world's."""
        return (*self.sources, *self._world_sources("train"))

    @property
    def held_out_sources(self) -> tuple[SourceConfig, ...]:
        """All held-out sources, including the world's."""
        return (*self.validation, *self._world_sources("test"))

    def _world_sources(self, split: str) -> tuple[SourceConfig, ...]:
        if self.world is None:
            return ()
        return tuple(world_source(Path(self.world_path), domain, split) for domain in self.world.domains)

    def with_length(self) -> "Recipe":
        """Return the recipe with `engine.total_steps` computed from `epochs` and its batch; itself without `epochs`."""
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
