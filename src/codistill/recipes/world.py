"""Recipes on the embedded world: three domains, no files, no licences."""

from dataclasses import replace

from codistill.data import LoaderConfig, MixConfig
from codistill.engine.loop import EngineConfig
from codistill.engine.optim import OptimConfig
from codistill.recipes.recipe import Recipe, StudentConfig
from codistill.recipes.small import REAL_MINI_RECIPE
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
"""Seeded random networks of other kinds, where no stereo or people teacher can be had."""

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

WORLD_DEMO = Recipe(
    name="world-demo",
    about="what `codistill demo` trains: DINOv2 ViT-S/14 and two stand-ins into ViT-Ti/14, embedded world, 112 px",
    image_size=112,
    student=StudentConfig(size="vit_tiny"),
    teachers=(TeacherConfig(name="dinov2_vits14", domain="generic"), *STAND_INS),
    world=WorldConfig(images=120, size=112),
    world_path="worlds/demo",
    loader=LoaderConfig(batch_size=16, num_workers=0),
    optim=OptimConfig(lr=1e-3, reference_batch=None, warmup_fraction=0.1),
    engine=EngineConfig(total_steps=320, log_every=20, checkpoint_every=160, validate_every=160),
)

GENERIC_TINY = Recipe(
    name="generic-tiny",
    about="DINOv2 ViT-S/14 into ViT-Ti/14 on photographs and objects of the embedded world, 112 px: a small generalist",
    image_size=112,
    student=StudentConfig(size="vit_tiny"),
    teachers=(TeacherConfig(name="dinov2_vits14", domain="generic", precision="bf16"),),
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
        total_steps=4000, precision="bf16", log_every=20, checkpoint_every=200, validate_every=1000
    ),
)

RECIPES = (WORLD_DEBUG, WORLD_DEMO, GENERIC_TINY)
