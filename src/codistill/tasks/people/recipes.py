"""How people are trained: the published recipe, and a small one for frozen features on one machine."""

from dataclasses import dataclass, field

from codistill.engine.optim import OptimConfig
from codistill.errors import ConfigError, unknown_name
from codistill.heads.human_mesh.losses import HumanMeshLossConfig
from codistill.heads.human_mesh.targets import TargetConfig


@dataclass(frozen=True, kw_only=True)
class PeopleHeadConfig:
    """The cross-attention head, as far as encoder and body model leave it open; see `HumanMeshConfig`."""

    dim: int = 1024
    depth: int = 2
    num_heads: int = 8
    head_dim: int = 32
    hidden: int = 1024
    window: tuple[int, int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class PeopleRecipe:
    """How a head is trained.

    Attributes:
        name: what it is called.
        steps, batch_size: of the fit.
        stored: encode every image once and keep its tokens; False encodes in every step.
        mirror: exchange left and right in half of the views.
        every_vertex: losses over the surface take every so many-th vertex, where the body model can be thinned.
        head, loss, targets, optim: see the classes.
    """

    name: str
    steps: int
    batch_size: int = 32
    stored: bool = True
    mirror: bool = True
    every_vertex: int = 1
    head: PeopleHeadConfig = field(default_factory=PeopleHeadConfig)
    loss: HumanMeshLossConfig = field(default_factory=HumanMeshLossConfig)
    targets: TargetConfig = field(default_factory=TargetConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "every_vertex"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more; got {getattr(self, name)}")


PUBLISHED = PeopleRecipe(
    name="published",
    steps=500_000,
    stored=False,
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
)
"""Multi-HMR's released training (constant rate, no decay; its own supervision of depth by the pelvis). It trained the
encoder too (`--unfreeze`): on a frozen one, start from `small`'s learning rate."""

SMALL = PeopleRecipe(
    name="small",
    steps=2000,
    every_vertex=12,
    head=PeopleHeadConfig(dim=512, hidden=1024, window=(1, 4, 2)),
    loss=HumanMeshLossConfig(
        rotmat=5.0,
        joints_3d=10.0,
        vertices_3d=10.0,
        joints_2d=0.2,
        vertices_2d=0.2,
        projections_from=500,
    ),
    optim=OptimConfig(
        lr=5e-4,
        reference_batch=None,
        min_lr=1e-6,
        warmup_fraction=0.05,
        betas=(0.9, 0.99),
        eps=1e-8,
        weight_decay=0.01,
        clip="global",
        clip_norm=5.0,
    ),
)
"""Minutes on one machine, on stored tokens.

Rotations are what the closed-form start reads from the window, and stay so; the head learns who is where, and shapes.
Trained further for 1500 steps, by absolute or by squared errors, bodies were further off after alignment on held-out
images. Where there is no window (`--online`, `--init`, labels without rotations), rotations weigh five hundred times
more against points than published: while it is not known which way somebody faces, points alone are closest on average
to a body that no pose gives, with its limbs drawn to its axis.
"""

RECIPES = {"small": SMALL, "published": PUBLISHED}
"""Every recipe, by its name."""


def find_people_recipe(name: str) -> PeopleRecipe:
    """A recipe by name.

    Raises:
        ConfigError: for an unknown one.
    """
    if name not in RECIPES:
        raise ConfigError(unknown_name("recipe for people", name, RECIPES))
    return RECIPES[name]
