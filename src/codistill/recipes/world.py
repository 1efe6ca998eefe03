"""Recipes on the embedded world: three domains, without data files or licences."""

from dataclasses import replace

from codistill.data import LoaderConfig, MixConfig, SourceConfig
from codistill.distill.config import DistillConfig
from codistill.distill.losses import LossConfig
from codistill.engine.optim import OptimConfig
from codistill.engine.settings import EngineConfig
from codistill.recipes.recipe import Recipe, StudentConfig
from codistill.recipes.small import REAL_MINI_RECIPE
from codistill.student.projectors import ProjectorConfig
from codistill.teachers.teacher import TeacherConfig
from codistill.world.build import WorldConfig

STAND_INS = (
    TeacherConfig(
        name="stereo",
        encoder="random:vit_tiny,patch_size=16,position=rope,depth=4,seed=1",
        domain="3d",
        kinds=("patch",),
    ),
    TeacherConfig(
        name="people", encoder="random:vit_tiny,patch_size=7,depth=2,seed=2", domain="human", kinds=("patch",)
    ),
)
"""Seeded random networks of other architectures, used where no stereo or people teacher is available."""

WORLD_DEBUG = Recipe(
    name="world-debug",
    about="three domains of the embedded world (built first), random teachers, 56 px: a minute or two",
    image_size=56,
    student=StudentConfig(size="vit_tiny", depth=4),
    teachers=(
        TeacherConfig(name="generic", encoder="random:vit_tiny,depth=4,seed=3", domain="generic"),
        *STAND_INS,
    ),
    world=WorldConfig(images=36, size=112),
    world_path="worlds/debug",
    loader=LoaderConfig(batch_size=12, num_workers=0),
    optim=OptimConfig(lr=1e-3, reference_batch=None),
    engine=EngineConfig(total_steps=24, log_every=4, checkpoint_every=12, validate_every=12),
)

SPECIALISTS = (
    TeacherConfig(name="generic", encoder="generic-tiny", domain="generic"),
    TeacherConfig(name="stereo", encoder="stereo-tiny", domain="3d", kinds=("patch",)),
    TeacherConfig(name="people", encoder="people-tiny", domain="human", kinds=("patch",)),
)
"""The three specialists that codistill ships: encoders trained for different tasks; see docs/miniature.md."""

WORLD_DEMO = Recipe(
    name="world-demo",
    about="what `codistill demo` trains: three specialists that ship into ViT-Ti/14, embedded world, 112 px",
    image_size=112,
    student=StudentConfig(size="vit_tiny"),
    teachers=SPECIALISTS,
    world=WorldConfig(images=120, size=112),
    world_path="worlds/demo",
    loader=LoaderConfig(batch_size=16, num_workers=0),
    optim=OptimConfig(lr=1e-3, reference_batch=None, warmup_fraction=0.1),
    engine=EngineConfig(
        total_steps=200, precision="fast", log_every=10, checkpoint_every=100, validate_every=100
    ),
)

GENERIC_TINY = Recipe(
    name="generic-tiny",
    about="DINOv2 ViT-S/14 into ViT-Ti/14 on photographs and objects of the embedded world, 112 px: a small generalist",
    image_size=112,
    student=StudentConfig(size="vit_tiny"),
    teachers=(TeacherConfig(name="dinov2_vits14", domain="generic", precision="auto"),),
    sources=tuple(replace(source, domain="generic") for source in REAL_MINI_RECIPE.sources),
    validation=tuple(replace(source, domain="generic") for source in REAL_MINI_RECIPE.validation),
    world=WorldConfig(images=6000, domains=("objects",), size=112),
    world_path="worlds/objects",
    mix=MixConfig(
        mode="weighted",
        weights=(("photographs", 1.0), ("stereo", 0.5), ("street", 0.5), ("world-objects", 4.0)),
    ),
    loader=LoaderConfig(batch_size=32, num_workers=0),
    optim=OptimConfig(lr=1e-3, reference_batch=None, warmup_fraction=0.1),
    engine=EngineConfig(
        total_steps=4000, precision="fast", log_every=20, checkpoint_every=200, validate_every=1000
    ),
)


def _of_worlds(split: str) -> tuple[SourceConfig, ...]:
    """One world per domain; rooms come in pairs."""
    worlds = (("objects", "generic", 1), ("rooms", "3d", 2), ("people", "human", 1))
    return tuple(
        SourceConfig(
            name=f"world-{name}",
            domain=domain,
            kind="shards",
            path=f"worlds/{name}/{name}/{split}",
            expected=expected,
        )
        for name, domain, expected in worlds
    )


DUNE_TINY = Recipe(
    name="dune-tiny",
    about="DINOv2 ViT-S/14, stereo-tiny and people-tiny into ViT-Ti/14, worlds and photographs, 112 px",
    image_size=112,
    student=StudentConfig(
        size="vit_tiny",
        num_registers=0,
        init="stereo-tiny",
        projector=ProjectorConfig(kind="ladder", hidden=192, blocks=(2, 5, 8, 11)),
    ),
    teachers=(
        TeacherConfig(name="generic", encoder="dinov2_vits14", domain="generic", precision="auto"),
        TeacherConfig(name="stereo", encoder="stereo-tiny", domain="3d", kinds=("patch",), precision="auto"),
        TeacherConfig(
            name="people", encoder="people-tiny", domain="human", kinds=("patch",), precision="auto"
        ),
    ),
    sources=(*_of_worlds("train"), *REAL_MINI_RECIPE.sources),
    validation=(*_of_worlds("val"), *REAL_MINI_RECIPE.validation),
    mix=MixConfig(
        mode="weighted",
        weights=(
            ("world-objects", 3.0),
            ("world-rooms", 3.0),
            ("world-people", 3.0),
            ("photographs", 1.0),
            ("stereo", 0.5),
            ("street", 0.5),
        ),
    ),
    loader=LoaderConfig(batch_size=32, num_workers=0),
    distill=DistillConfig(loss=LossConfig(weights={"cosine": 0.5, "smooth_l1": 0.5, "cka": 1.0})),
    optim=OptimConfig(lr=1e-3, reference_batch=None, warmup_fraction=0.1, lr_scales=(("encoder.", 0.5),)),
    engine=EngineConfig(
        total_steps=1200, precision="fast", log_every=20, checkpoint_every=100, validate_every=600
    ),
)
"""Trains the model of that name; docs/miniature.md has the commands that come before it.

Ladder projectors and CKA between patches were better than transformers and no CKA in short trainings (see there and
docs/methods.md). The projectors are too large to ship; narrower ones are trained on the frozen encoder afterwards.
"""

RECIPES = (WORLD_DEBUG, WORLD_DEMO, GENERIC_TINY, DUNE_TINY)
