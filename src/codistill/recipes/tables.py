"""The rows of the paper's Tables 1 and 2: distillation data, projector design, data sharing.

All are ViT-B/14 at 336 pixels with the budget of the published first stage. Source: DUNE, Tables 1 and 2.
"""

from dataclasses import replace

from codistill.distill.sharing import SharingConfig
from codistill.recipes.published import DUNE_BASE_336, held_out_sources, training_sources
from codistill.recipes.recipe import Recipe
from codistill.student.projectors import ProjectorConfig

PROJECTORS = {
    "sp": ("simple projector", ProjectorConfig(kind="mlp")),
    "lp": (
        "ladder of projectors, after every third block",
        ProjectorConfig(kind="ladder", blocks=(2, 5, 8, 11)),
    ),
    "tp": ("transformer projector", ProjectorConfig(kind="transformer")),
}


def table_one(data: str, projector: str) -> Recipe:
    """A row of Table 1: ImageNet-19K alone or all 19 sets, with one of three projectors."""
    words, config = PROJECTORS[projector]
    recipe = replace(
        DUNE_BASE_336,
        name=f"table1-{data}-{projector}",
        about=f"Table 1: {'ImageNet-19K' if data == 'in19k' else 'all 19 sets'}, {words}",
        student=replace(DUNE_BASE_336.student, projector=config),
    )
    if data == "in19k":
        # ImageNet-19K has no held-out part; ImageNet-1K's, of the same domain, replaces it.
        held_out = held_out_sources(("in1k",))
        recipe = replace(recipe, sources=training_sources(("in19k",)), validation=held_out)
    return recipe


def table_two(name: str, sharing: SharingConfig) -> Recipe:
    """A row of Table 2: which teachers share which data."""
    return replace(
        DUNE_BASE_336,
        name=f"table2-{name}",
        about=f"Table 2: {name} data sharing",
        distill=replace(DUNE_BASE_336.distill, sharing=sharing),
    )


RECIPES = (
    table_one("in19k", "lp"),
    table_one("in19k", "tp"),
    table_one("all", "sp"),
    table_one("all", "lp"),
    table_one("all", "tp"),
    table_two("none", SharingConfig(mode="none", skip_untaught=False)),
    table_two("generic", SharingConfig(mode="generic", shared_sources=("in19k",), skip_untaught=False)),
    table_two("full", SharingConfig(mode="full")),
)
