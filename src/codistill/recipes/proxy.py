"""Recipes of EUPE: large teachers into a proxy, the proxy into a small student, then again at independent scales.

    codistill distill eupe-proxy --out runs/eupe-proxy             # stage 1: three teachers into 1.9 billion parameters
    codistill distill eupe-vitb16-256 --out runs/eupe-vitb16-256   # stage 2: the proxy teaches at 256 pixels
    codistill distill eupe-vitb16 --out runs/eupe-vitb16           # stage 3: sizes drawn independently
    codistill plan eupe-vitb16                                     # hours of this stage and of the earlier ones

Published (arXiv 2603.22387):
* of stage 1: the teachers, their image sizes and the student's size;
* of stages 2 and 3: image sizes, batches, learning rates, steps, weight decay, adaptors and fixed statistics;
* the loss.

Not published, and chosen here:
* the proxy's shape (width 1792, 48 blocks, 28 heads, patch 16, 448 pixels);
* batch, learning rate and steps of stage 1 (those of stage 2);
* that learning rates are per 256 images;
* warm-up and AdamW's betas (codistill's);
* how image sizes are drawn;
* the batch of larger images in stage 3 (4096 images of 256 pixels, and as many tokens at other sizes).

The loss here is the mean of the class and patch tokens' losses, half of EUPE's sum. EUPE's images, LVD-1689M, are not
public: the sets of DUNE and ImageNet-1K replace them.
"""

from dataclasses import replace

from codistill.data import LoaderConfig
from codistill.distill.config import DistillConfig
from codistill.distill.dropping import DroppingConfig
from codistill.distill.losses import LossConfig
from codistill.distill.targets import TargetConfig
from codistill.engine.optim import OptimConfig
from codistill.engine.settings import EngineConfig
from codistill.recipes.published import held_out_sources, training_sources
from codistill.recipes.recipe import Recipe, StudentConfig
from codistill.student.projectors import ProjectorConfig
from codistill.teachers.teacher import TeacherConfig

SIZES = (256, 384, 512)


def _distill(alignment: str) -> DistillConfig:
    return DistillConfig(
        dropping=DroppingConfig(mode="none"),
        loss=LossConfig(weights={"cosine": 0.9, "smooth_l1": 0.1}, summary={"cosine": 1.0}),
        targets=TargetConfig(statistics="fixed", estimate_steps=500),
        alignment=alignment,  # type: ignore[arg-type]
    )


def _engine(steps: int) -> EngineConfig:
    return EngineConfig(
        total_steps=steps, log_every=50, checkpoint_every=1000, validate_every=5000, strategy="fsdp2"
    )


EUPE_PROXY = Recipe(
    name="eupe-proxy",
    about="EUPE, stage 1 of 3: PE core and lang G, DINOv3 H+ into a proxy of 1.9 B (shape and length are ours)",
    image_size=448,
    student=StudentConfig(
        size="vit_base",
        dim=1792,
        depth=48,
        num_heads=28,
        patch_size=16,
        num_registers=4,
        projector=ProjectorConfig(kind="ln_mlp", hidden=1536),
    ),
    teachers=(
        TeacherConfig(
            name="pe_core",
            encoder="timm:vit_pe_core_gigantic_patch14_448.fb,summary=pooled",
            image_size=448,
        ),
        TeacherConfig(
            name="pe_lang",
            encoder="timm:vit_pe_lang_gigantic_patch14_448.fb",
            image_size=448,
            kinds=("patch",),
        ),
        TeacherConfig(name="dinov3", encoder="timm:vit_huge_plus_patch16_dinov3.lvd1689m", image_size=256),
    ),
    sources=(*training_sources(), *training_sources(("in1k",))),
    validation=held_out_sources(),
    loader=LoaderConfig(batch_size=8192),
    distill=_distill("larger"),
    optim=OptimConfig(lr=2e-5, weight_decay=1e-4),
    engine=_engine(390_000),
)

EUPE_BASE_256 = replace(
    EUPE_PROXY,
    name="eupe-vitb16-256",
    about="EUPE, stage 2 of 3: ViT-B/16 from the proxy of runs/eupe-proxy, 256 px",
    image_size=256,
    student=StudentConfig(
        size="vit_base", patch_size=16, projector=ProjectorConfig(kind="ln_mlp", hidden=3072)
    ),
    teachers=(TeacherConfig(name="proxy", encoder="runs/eupe-proxy", kinds=("cls", "patch")),),
    distill=_distill("student"),
    engine=replace(_engine(390_000), strategy="ddp"),
)

EUPE_BASE = replace(
    EUPE_BASE_256,
    name="eupe-vitb16",
    about="EUPE, stage 3 of 3: ViT-B/16 from stage 2's run, student and proxy at independent scales",
    image_size=256,
    image_sizes=SIZES,
    student=replace(EUPE_BASE_256.student, init="runs/eupe-vitb16-256"),
    teachers=(replace(EUPE_BASE_256.teachers[0], image_sizes=SIZES),),
    loader=replace(EUPE_BASE_256.loader, batch_size=4096),
    distill=_distill("larger"),
    optim=replace(EUPE_BASE_256.optim, lr=1e-5),
    engine=replace(EUPE_BASE_256.engine, total_steps=100_000),
)

RECIPES = (EUPE_PROXY, EUPE_BASE_256, EUPE_BASE)
