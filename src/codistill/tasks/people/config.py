"""How a human-mesh head is fitted: the saved config."""

from dataclasses import dataclass, field

from codistill.errors import ConfigError
from codistill.files.config import CHANGEABLE
from codistill.tasks.people.recipes import SMALL, PeopleRecipe
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.unfrozen import check_unfreezing


@dataclass(frozen=True, kw_only=True)
class PeopleFit:
    """How a head is fitted.

    Attributes:
        data: `KIND:FOLDER` of the training data.
        features: what the head stands on.
        recipe: see `PeopleRecipe`.
        size: side of the square that the encoder sees, pixels; None for the data's own.
        init: a released Multi-HMR file to start from; empty for a fresh head.
        unfreeze: train the encoder as well.
        encoder_lr_scale: its learning rate, relative to the head's.
        seed: of every draw.
        limit: use so many training images, evenly spread; None for all.
        accumulate: batches into which each rank cuts its share of a step.
        partial: leave out images whose file is missing.
        validate_every: steps between two looks at the `val` split; 0: none.
    """

    data: str
    features: FeatureConfig
    recipe: PeopleRecipe = SMALL
    size: int | None = None
    init: str = ""
    unfreeze: bool = False
    encoder_lr_scale: float = 1.0
    seed: int = 0
    limit: int | None = None
    accumulate: int = field(default=1, metadata=CHANGEABLE)
    partial: bool = field(default=False, metadata=CHANGEABLE)
    validate_every: int = field(default=0, metadata=CHANGEABLE)

    def __post_init__(self) -> None:
        if self.features.norm and self.features.projector is None:
            raise ConfigError("a human-mesh head has a norm of its own: take features without (--norm off)")
        if len(self.features.blocks) != 1:
            raise ConfigError(
                f"a human-mesh head takes one level of tokens; got blocks {self.features.blocks}"
            )
        if self.accumulate < 1 or self.recipe.batch_size % self.accumulate:
            raise ConfigError(
                f"a batch of {self.recipe.batch_size} cannot be cut into {self.accumulate} equal parts"
            )
        if self.size is not None and self.size < 1:
            raise ConfigError(f"size must be 1 or more; got {self.size}")
        check_unfreezing(
            self.unfreeze,
            self.encoder_lr_scale,
            stored=self.recipe.stored,
            instead="add --online, or take --recipe published",
        )
        if self.unfreeze and (self.features.projector is not None or self.features.blocks != (-1,)):
            raise ConfigError(
                "--unfreeze trains an encoder through its last block: leave out --projector and --blocks"
            )
