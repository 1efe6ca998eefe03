"""Config of a fit of a human-mesh head, saved with it, and recipes."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from codistill.engine.optim import OptimConfig
from codistill.errors import ConfigError, check_least
from codistill.files.config import CHANGEABLE
from codistill.files.idle import Idle
from codistill.heads.human_mesh.losses import HumanMeshLossConfig
from codistill.heads.human_mesh.targets import TargetConfig
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.trained_fit import TrainedFit


@dataclass(frozen=True, kw_only=True)
class PeopleProtocol:
    """How images are resized for a fitted head, and which body model its answers are for.

    Attributes:
        size: side of the encoder's square input, pixels.
        body, n_shape, body_licence: name, number of shape coefficients and licence of the body model it was fitted on.
    """

    size: int
    body: str
    n_shape: int
    body_licence: str


@dataclass(frozen=True, kw_only=True)
class PeopleHeadConfig:
    """Sizes of the cross-attention head, except those that follow from encoder and body model; see `HumanMeshConfig`.

    Attributes:
        dim, depth, num_heads, head_dim, hidden: sizes of its blocks.
        window: cells above, below and beside a person's head from which rotations are read (1 4 2 suits 12 cells a
            side); None: rotations are learnt.
    """

    dim: int = 1024
    depth: int = 2
    num_heads: int = 8
    head_dim: int = 32
    hidden: int = 1024
    window: tuple[int, int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class PeopleFit(TrainedFit):
    """How a human-mesh head is fitted; by default in minutes on one machine, on stored tokens.

    Attributes:
        features: input of the head, which has its own norm.
        size: side of the encoder's square input, pixels; None: the data's own.
        mirror: exchange left and right in half of the views.
        every_vertex: surface losses use every n-th vertex, if the body model can be thinned.
        init: a released Multi-HMR file to start from; empty for an untrained head.
        validate_every: steps between validations on `val`; 0: none.
        head, loss, targets: see the classes.
    """

    features: FeatureConfig = field(default_factory=lambda: FeatureConfig(norm=False))
    batch_size: int = 32
    size: int | None = None
    mirror: bool = True
    every_vertex: int = 12
    init: str = ""
    validate_every: int = field(default=0, metadata=CHANGEABLE)
    head: PeopleHeadConfig = field(
        default_factory=lambda: PeopleHeadConfig(dim=512, hidden=1024, window=(1, 4, 2))
    )
    loss: HumanMeshLossConfig = field(
        default_factory=lambda: HumanMeshLossConfig(
            rotmat=5.0, joints_3d=10.0, vertices_3d=10.0, joints_2d=0.2, vertices_2d=0.2, projections_from=500
        )
    )
    targets: TargetConfig = field(default_factory=TargetConfig)
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(
            lr=5e-4,
            reference_batch=None,
            min_lr=1e-6,
            warmup_fraction=0.05,
            betas=(0.9, 0.99),
            eps=1e-8,
            weight_decay=0.01,
            clip="global",
            clip_norm=5.0,
        )
    )

    fresh = "--no-cached --head.window None"  # the window is fitted to stored tokens

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features.norm and self.features.projector is None:
            raise ConfigError("a human-mesh head has its own norm: take features without (norm: false)")
        if len(self.features.blocks) != 1:
            raise ConfigError(
                f"a human-mesh head takes one level of tokens; got blocks {self.features.blocks}"
            )
        check_least(self, "every_vertex", "size")
        if self.unfreeze and (self.features.projector is not None or self.features.blocks != (-1,)):
            raise ConfigError(
                "--unfreeze trains an encoder through its last block: leave out --projector and --blocks"
            )
        if self.head.window is not None and (self.init or not self.cached):
            raise ConfigError(
                f"the window {self.head.window} is fitted to stored tokens: it has no meaning with --no-cached, --init "
                "or the recipe `published`. Add --head.window None"
            )

    def idle_computing(self) -> Iterator[Idle]:
        yield from super().idle_computing()
        if not self.unfreeze:
            yield "recompute", "no transformer block trains"


SMALL = PeopleFit()

RECIPES = {
    "small": SMALL,
    # Makes a teacher for the embedded world: encoder and head train together; HEAD/encoder is the teacher.
    "people-tiny": replace(
        SMALL,
        optim=replace(SMALL.optim, lr=6e-4),
        steps=6000,
        batch_size=8,
        cached=False,
        unfreeze=True,
        encoder_lr_scale=0.2,
        precision="fast",
        head=replace(SMALL.head, window=None),
    ),
    "published": PeopleFit(
        steps=500_000,
        cached=False,
        every_vertex=1,
        head=PeopleHeadConfig(),
        loss=HumanMeshLossConfig(clamp_scores=True),
        targets=TargetConfig(depth_joint="pelvis"),
        optim=OptimConfig(
            lr=5e-6,
            reference_batch=None,
            min_lr=5e-6,
            warmup_fraction=0.0,
            betas=(0.9, 0.999),
            eps=1e-8,
            weight_decay=0.0,
            clip="none",
        ),
    ),
}
"""Recipes by name.

With `small`, rotations come from the closed-form start, which reads them from the window, and are not trained; the head
learns where people are, and their shapes. When rotations were trained for 1500 further steps, by absolute or by squared
errors, the error after alignment on held-out images increased. Without a window (`--no-cached`, `--init`, labels
without rotations), rotations weigh five hundred times more against points than published: as long as the direction in
which a person faces is unknown, the body that is closest to the points on average is one that no pose gives, with its
limbs drawn to its axis.

`published` is Multi-HMR's released training (constant rate, no decay; its depth is supervised at the pelvis). It also
trained the encoder (`--unfreeze`); with a frozen encoder, start from `small`'s learning rate.
"""
