"""Small recipes: a debug run that needs no files, and a run on real photographs for a laptop.

`real-mini` distils the real DINOv2 ViT-S/14 and two tiny networks in the layouts of the released MASt3R and Multi-HMR.
These are examples of teachers that differ in patch size, normalization and class token. The data are about two hundred
photographs in three domains. Held out are whole photographs, whole stereo pairs, and a contiguous block of the street
camera's frames (with a gap before it), so that no held-out content is trained on.
"""

from codistill.data import AugmentConfig, LoaderConfig, SourceConfig
from codistill.engine.optim import OptimConfig
from codistill.engine.settings import EngineConfig
from codistill.recipes.recipe import Recipe, StudentConfig
from codistill.teachers.teacher import TeacherConfig

REAL_MINI = "$CODISTILL_DATA/real-mini"
HELD_OUT_PHOTOGRAPHS = (
    "Bridge_by_Sander_Klootwijk.jpg",
    "Fossa_by_Jasper_Roks.jpg",
    "LadyBird.jpg",
    "baboon.jpg",
    "building.jpg",
    "fruits.jpg",
    "messi5.jpg",
    "picosdeeuropa_by_Aitzol_Berasategi.jpg",
    "skimage_chelsea.jpg",
    "skimage_coffee.jpg",
)
HELD_OUT_PAIRS = (
    "aero?.jpg",
    "rubberwhale?.jpg",
    "left0[48].jpg",
    "right0[48].jpg",
    "left12.jpg",
    "right12.jpg",
)
STEREO_GROUPS = r"^(?:left|right)(\d+)|^([A-Za-z_]+?)\d*\."
"""The two images of a pair: left04 and right04, aero1 and aero3."""
HELD_OUT_FRAMES = ("vtest_06[3-9]?.jpg", "vtest_07??.jpg")
GAP_FRAMES = ("vtest_06[0-2]?.jpg",)


def _real_mini(held_out: bool) -> tuple[SourceConfig, ...]:
    parts = (
        ("photographs", "generic", "generic", HELD_OUT_PHOTOGRAPHS, (), ""),
        ("stereo", "3d", "stereo", HELD_OUT_PAIRS, (), STEREO_GROUPS),
        ("street", "human", "people", HELD_OUT_FRAMES, GAP_FRAMES, "^"),
    )
    return tuple(
        SourceConfig(
            name=name,
            domain=domain,
            path=f"{REAL_MINI}/{folder}",
            include=out if held_out else (),
            exclude=() if held_out else (*out, *gap),
            groups=groups,
        )
        for name, domain, folder, out, gap, groups in parts
    )


REAL_MINI_RECIPE = Recipe(
    name="real-mini",
    about="ViT-Ti/14 from DINOv2 ViT-S/14 and two tiny stand-ins, on 219 real photographs, 112 px",
    image_size=112,
    student=StudentConfig(size="vit_tiny"),
    teachers=(
        TeacherConfig(name="dinov2_vits14", domain="generic"),
        TeacherConfig(
            name="mast3r_nano", encoder="$CODISTILL_GOLDEN/mast3r_nano_released_layout.pth", domain="3d"
        ),
        TeacherConfig(
            name="multihmr_nano",
            encoder="$CODISTILL_GOLDEN/multihmr_nano_released_layout.pt,num_heads=3",
            domain="human",
            kinds=("patch",),
        ),
    ),
    sources=_real_mini(held_out=False),
    validation=_real_mini(held_out=True),
    augment=AugmentConfig(),
    loader=LoaderConfig(batch_size=24, num_workers=1),
    optim=OptimConfig(lr=1e-3, reference_batch=None, warmup_fraction=0.1),
    engine=EngineConfig(total_steps=3000, log_every=20, checkpoint_every=100, validate_every=200),
)

DEBUG = Recipe(
    name="debug",
    about="two-block student, three random teachers, generated images: seconds, no files, no network",
    image_size=56,
    student=StudentConfig(size="vit_tiny", dim=64, depth=2, num_heads=2),
    teachers=(
        TeacherConfig(name="generic", encoder="random:vit_tiny,dim=64,num_heads=2,depth=2,seed=1"),
        TeacherConfig(
            name="stereo",
            encoder="random:vit_tiny,dim=48,num_heads=2,depth=2,patch_size=16,seed=2",
            domain="3d",
            kinds=("patch",),
        ),
        TeacherConfig(
            name="people",
            encoder="random:vit_tiny,dim=32,num_heads=2,depth=2,patch_size=7,seed=3",
            domain="human",
            kinds=("patch",),
        ),
    ),
    sources=tuple(
        SourceConfig(name=f"generated-{domain}", domain=domain, path=str(count), kind="generated")
        for domain, count in (("generic", 48), ("3d", 24), ("human", 36))
    ),
    validation=(SourceConfig(name="generated-held-out", domain="generic", path="12", kind="generated"),),
    loader=LoaderConfig(batch_size=12, num_workers=0),
    optim=OptimConfig(lr=1e-3, reference_batch=None),
    engine=EngineConfig(total_steps=24, log_every=4, checkpoint_every=6, validate_every=12),
)

BENCH = Recipe(
    name="bench",
    about="what `codistill bench step` times: ViT-S/14 from three random ViT-S, one of patch 16, 112 px, 12 images",
    image_size=112,
    student=StudentConfig(size="vit_small"),
    teachers=(
        TeacherConfig(name="generic", encoder="random:vit_small,num_registers=4,seed=1"),
        TeacherConfig(
            name="stereo", encoder="random:vit_small,patch_size=16,seed=2", domain="3d", kinds=("patch",)
        ),
        TeacherConfig(name="people", encoder="random:vit_small,seed=3", domain="human", kinds=("patch",)),
    ),
    sources=DEBUG.sources,
    loader=LoaderConfig(batch_size=12, num_workers=0),
    engine=EngineConfig(total_steps=1000),
)

RECIPES = (DEBUG, REAL_MINI_RECIPE, BENCH)
