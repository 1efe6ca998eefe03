"""Two views as a task: a head that is fitted on posed pairs, and scored by how well it relocalizes a camera.

`relocalize/task.py` scores released models and baselines the same way; `multiview/` scores the head on more views.
"""

from codistill.tasks.task import Task
from codistill.tasks.two_view.config import RECIPES, TwoViewFit
from codistill.tasks.two_view.fit import fit_two_view
from codistill.tasks.two_view.layouts import LAYOUTS
from codistill.tasks.two_view.pairs import check_pairs
from codistill.tasks.two_view.relocalize.model import RelocalizationTest, load_locator
from codistill.tasks.two_view.relocalize.score import COLUMNS
from codistill.tasks.two_view.relocalize.task import SHOWN, UNIT, score_pairs, summarize_pairs
from codistill.tasks.two_view.sight import SIGHT

TASK = Task(
    name="two-view",
    features=("encoder", "norm"),
    about="points, confidences and descriptors of two views: a head for relocalization, multiview-…, reconstruct",
    layouts=LAYOUTS,
    config=TwoViewFit,
    recipes=RECIPES,
    fit=fit_two_view,
    check=check_pairs,
    load=load_locator,
    test=RelocalizationTest,
    score=score_pairs,
    columns=COLUMNS,
    unit=UNIT,
    samples="pairs",
    shown=SHOWN,
    summarize=summarize_pairs,
    sight=SIGHT,
)
