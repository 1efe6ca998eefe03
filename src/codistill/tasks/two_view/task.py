"""Two views as a task: fit a head on posed pairs, and score how well it relocalizes a camera.

`relocalize/task.py` scores released models and baselines in the same way; `multiview/` scores the head on more views.
"""

from dataclasses import replace

from codistill.tasks.two_view.config import RECIPES, TwoViewFit
from codistill.tasks.two_view.fit import fit_two_view
from codistill.tasks.two_view.relocalize.task import TASK as RELOCALIZATION
from codistill.tasks.two_view.sight import SIGHT

TASK = replace(
    RELOCALIZATION,
    name="two-view",
    about="points, confidences and descriptors of two views: a head for relocalization, multiview-…, reconstruct",
    heads="",
    features=("encoder", "norm"),
    config=TwoViewFit,
    recipes=RECIPES,
    fit=fit_two_view,
    sight=SIGHT,
    baselines={},
)
"""Data, scores and pictures are those of relocalization, which also scores the baselines."""
