"""Recipes of 2026: C-RADIOv4 as far as it is public, and DUNE with changes that other papers' ablations support.

`cradio-v4-like`:

* Public (arXiv 2601.17237, NVIDIA TAO): teachers and their sizes, the student's shape, its low sizes, PHI-S, the
  angular loss, shifts by tokens (drawn as in TAO), MESA and DAMP as parts of the method, residual MLPs of width 1024.
* Not public, and chosen here: learning rate, batch, steps, the probability of a size, the largest shift, MESA's weight
  and decay, DAMP's sigma (the weakest published one).
* Different from C-RADIOv4: cosine and smooth L1 in place of the squared error of patches, no mosaic (no teacher of a
  fixed size that needs one), no stage at sizes of 512 to 1152, no SAM3 (not in a registry that codistill reads).

`codistill-2026`:

* DUNE's first stage with EUPE's independent scales and its loss weights of 0.9 and 0.1, the only changes of these years
  that were ablated in distillation, and PaKA's CKA between patches, the only one that helped in trainings of a few
  minutes here (docs/methods.md). None of it was measured here at this size.
"""

from dataclasses import replace

from codistill.data import LoaderConfig
from codistill.distill.config import DistillConfig
from codistill.distill.losses import LossConfig
from codistill.distill.mesa import MesaConfig
from codistill.distill.targets import TargetConfig
from codistill.engine.optim import OptimConfig
from codistill.engine.settings import EngineConfig
from codistill.recipes.published import DUNE_BASE_336, DUNE_TEACHERS, held_out_sources, training_sources
from codistill.recipes.recipe import Recipe, StudentConfig
from codistill.student.projectors import ProjectorConfig
from codistill.teachers.teacher import TeacherConfig
from codistill.teachers.views import ShiftConfig

CRADIO_V4_LIKE = Recipe(
    name="cradio-v4-like",
    about="C-RADIOv4-H as far as it is public: SigLIP2-g and DINOv3-7B into ViT-H/16, 128 to 432 px (rest is ours)",
    image_size=256,
    image_sizes=(128, 192, 224, 256, 384, 432),
    student=StudentConfig(
        size="vit_large",
        dim=1280,
        depth=32,
        num_heads=16,
        patch_size=16,
        num_registers=6,  # with two class tokens: eight tokens before the patches
        class_tokens="per_teacher",
        projector=ProjectorConfig(kind="radio_mlp", hidden=1024),
        ema=0.9999,
        damp=0.1,
    ),
    teachers=(
        TeacherConfig(
            name="siglip2",
            encoder="timm:vit_giantopt_patch16_siglip_384.v2_webli,summary=pooled",
            image_size=384,
        ),
        TeacherConfig(name="dinov3", encoder="timm:vit_7b_patch16_dinov3.lvd1689m", precision="bf16"),
    ),
    sources=(*training_sources(), *training_sources(("in1k",))),
    validation=held_out_sources(),
    loader=LoaderConfig(batch_size=1024),
    distill=DistillConfig(
        loss=LossConfig(weights={"cosine": 0.9, "smooth_l1": 0.1}, summary={"angular": 1.0}),
        targets=TargetConfig(statistics="fixed", transform="phi_s"),
        alignment="larger",
        shift=ShiftConfig(most=2, draw="normal", sigma=0.5),
        mesa=MesaConfig(weight=1.0, start=0.1),
    ),
    optim=OptimConfig(weight_decay=1e-2),
    engine=EngineConfig(
        total_steps=300_000, log_every=50, checkpoint_every=1000, validate_every=5000, strategy="fsdp2"
    ),
)

CODISTILL_2026 = replace(
    DUNE_BASE_336,
    name="codistill-2026",
    about="DUNE ViT-B/14 at independent scales, weights 0.9 and 0.1, CKA between patches (not measured at this size)",
    image_sizes=(224, 336, 448),
    teachers=(
        replace(DUNE_TEACHERS[0], image_sizes=(224, 336, 448)),
        replace(DUNE_TEACHERS[1], image_sizes=(256, 384, 512)),
        replace(DUNE_TEACHERS[2], image_sizes=(224, 336, 448)),
    ),
    distill=replace(
        DUNE_BASE_336.distill,
        loss=LossConfig(weights={"cosine": 0.9, "smooth_l1": 0.1, "cka": 1.0}),
        alignment="larger",
    ),
)

RECIPES = (CRADIO_V4_LIKE, CODISTILL_2026)
