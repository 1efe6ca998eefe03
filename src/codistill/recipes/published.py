"""The four published DUNE models and UNIC, as the reference implementation trains them.

The reference implementation takes 128 images per GPU. The batch here is global: 1024 images correspond to eight GPUs.
The learning rate scales with it (lr * batch / 256). `total_steps` follows from `epochs` and the batch.
Sources: DUNE (CVPR 2025) and its README; UNIC (ECCV 2024).
"""

from dataclasses import replace

from codistill.data import CATALOGUE, AugmentConfig, LoaderConfig, SourceConfig, catalogue_source
from codistill.distill.config import DistillConfig
from codistill.distill.targets import TargetConfig
from codistill.engine.optim import OptimConfig
from codistill.engine.settings import EngineConfig
from codistill.recipes.recipe import Recipe, StudentConfig, published_steps
from codistill.student.projectors import ProjectorConfig
from codistill.teachers.teacher import TeacherConfig

BATCH = 1024
ALL_SOURCES = tuple(name for name in CATALOGUE if name != "in1k")
"""The 19 sets of DUNE, in the order of its table."""

DUNE_TEACHERS = (
    TeacherConfig(name="dino2reg_vitlarge_14", domain="generic", kinds=("cls", "patch")),
    TeacherConfig(name="mast3r_vitlarge_16", domain="3d", kinds=("patch",)),
    TeacherConfig(name="multihmr_vitlarge_14_672", domain="human", kinds=("patch",)),
)


def training_sources(names: tuple[str, ...] = ALL_SOURCES) -> tuple[SourceConfig, ...]:
    """Training images of data sets in the catalogue, below `$CODISTILL_DATA`."""
    return tuple(catalogue_source(name) for name in names)


def held_out_sources(names: tuple[str, ...] = ALL_SOURCES) -> tuple[SourceConfig, ...]:
    """Validation images of those of the data sets that have any."""
    return tuple(catalogue_source(name, "val") for name in names if CATALOGUE[name].val)


def stage_one(name: str, size: str, about: str) -> Recipe:
    """The first stage: 100 "epochs" at 336 pixels, everything as published."""
    return Recipe(
        name=name,
        about=about,
        image_size=336,
        epochs=100.0,
        student=StudentConfig(size=size),
        teachers=DUNE_TEACHERS,
        sources=training_sources(),
        validation=held_out_sources(),
        loader=LoaderConfig(batch_size=BATCH),
        engine=EngineConfig(
            total_steps=published_steps(100.0, BATCH),
            log_every=50,
            checkpoint_every=1000,
            validate_every=5000,
        ),
    )


def stage_two(name: str, first: Recipe) -> Recipe:
    """The second stage: 50 more "epochs" at 448 pixels, with learning rate 5e-5.

    It starts from the first stage's run (`runs/NAME`, or --student.init).
    """
    second = replace(
        first,
        name=name,
        about=f"{first.about.split(',')[0]}, 448 px: 50 epochs from the run of {first.name}",
        image_size=448,
        epochs=50.0,
        student=replace(first.student, init=f"runs/{first.name}"),
        optim=replace(first.optim, lr=5e-5),
    )
    return second.with_length()


DUNE_BASE_336 = stage_one(
    "dune-vitbase14-336", "vit_base", "DUNE ViT-B/14, 336 px, the published first stage"
)
DUNE_BASE_448 = stage_two("dune-vitbase14-448", DUNE_BASE_336)
DUNE_SMALL_336 = stage_one(
    "dune-vitsmall14-336", "vit_small", "DUNE ViT-S/14, 336 px, the published first stage"
)
DUNE_SMALL_448 = stage_two("dune-vitsmall14-448", DUNE_SMALL_336)

UNIC = Recipe(
    name="unic",
    about="UNIC ViT-B/16 on ImageNet-1K, 224 px; two of its four teachers are not in a public registry: add them",
    image_size=224,
    epochs=200.0,
    student=StudentConfig(
        size="vit_base",
        patch_size=16,
        num_registers=0,
        drop_path=0.1,
        projector=ProjectorConfig(kind="ladder"),
    ),
    teachers=(
        TeacherConfig(name="dino_vitbase_16", encoder="timm:vit_base_patch16_224.dino"),
        TeacherConfig(name="deit3_vitbase_16", encoder="timm:deit3_base_patch16_224.fb_in1k"),
    ),
    sources=training_sources(("in1k",)),
    validation=held_out_sources(("in1k",)),
    augment=AugmentConfig(),
    loader=LoaderConfig(batch_size=BATCH),
    distill=DistillConfig(targets=TargetConfig(statistics="running")),
    optim=OptimConfig(clip="none", warmup_fraction=0.05),
    engine=EngineConfig(
        total_steps=published_steps(200.0, BATCH), log_every=50, checkpoint_every=1000, validate_every=5000
    ),
)

RECIPES = (DUNE_BASE_336, DUNE_BASE_448, DUNE_SMALL_336, DUNE_SMALL_448, UNIC)
