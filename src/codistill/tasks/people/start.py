"""Initialize a human-mesh head: untrained, from a released file, or with a closed-form start for rotations."""

import math
from dataclasses import asdict

from torch import nn

from codistill.bodies.base import BodyModel
from codistill.engine.distributed import Process
from codistill.errors import DataError
from codistill.heads.human_mesh.load import initialize
from codistill.heads.human_mesh.network import HumanMeshHead
from codistill.heads.human_mesh.targets import PeopleTruth
from codistill.nn.seeded import seeded
from codistill.tasks.people.config import PeopleFit
from codistill.tasks.people.least_squares import LeastSquares, start_by_least_squares
from codistill.tasks.people.loading import ViewPlan
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.head_fit import RUN
from codistill.weights.read import read_checkpoint
from codistill.weights.run import checkpoints


def fresh_head(
    body: BodyModel, features: FrozenFeatures, size: int, config: PeopleFit, *, posed: bool = True
) -> HumanMeshHead:
    """A head with seeded initial values.

    Args:
        body, features, size, config: of the fit: body model, features, side of the input, and config.
        posed: whether any label has rotations and shape, which a window needs.
    """
    options = asdict(config.head)
    if not posed:
        options["window"] = None
    with seeded(config.seed):
        return HumanMeshHead.for_body(
            body,
            encoder_dim=features.channels,
            patch_size=features.patch_size,
            table_size=size // features.patch_size,
            **options,
        )


def start_from(head: HumanMeshHead, path: str, runtime: Runtime) -> None:
    """Load the matching tensors of a released file, and print the others."""
    done = initialize(head, path, read_checkpoint(path))
    runtime.say(f"{path}: took {len(done.loaded)} tensors")
    for name, text in (done.resized | done.fresh).items():
        runtime.say(f"  {name}: {text}")


def read_windows(
    head: HumanMeshHead,
    plan: ViewPlan,
    body: BodyModel,
    config: PeopleFit,
    features: FrozenFeatures,
    runtime: Runtime,
    process: Process,
) -> HumanMeshHead:
    """The head with its closed-form start, or a head without a window if no label has rotations and shape.

    With the closed-form start, rotations come from the window alone; for the shape, the head learns the residual. The
    first process computes the start (the engine sends it to the others); a resumed run has it in its checkpoints.
    """
    if head.config.window is None:
        return head
    assert plan.stored is not None
    if not any(_is_posed(label.truth) for label in plan.stored.labels):
        runtime.say("nobody has rotations and shape: no window around a head is read")
        return fresh_head(body, features, plan.size, config, posed=False)
    head.around.requires_grad_(False)
    nn.init.zeros_(head.pose.weight)
    nn.init.zeros_(head.pose.bias)
    head.pose.requires_grad_(False)

    def start() -> LeastSquares | None:
        return start_by_least_squares(head.to(process.device), plan, body, process.device)

    if process.on_main(lambda: bool(checkpoints(runtime.out / RUN))):
        return head
    found = process.on_main(start)
    if found is None:
        raise DataError(
            f"{config.data}: nobody who has rotations and shape lies in an image of the train split"
        )
    errors = f"held-out bodies are off by {found.error:.0f} mm after alignment, mean ones by {found.mean_error:.0f} mm"
    runtime.say(
        f"least squares on the window around {found.people} heads: penalty {found.penalty:g}, "
        f"{'nobody held out' if math.isnan(found.error) else errors}"
    )
    return head


def _is_posed(truth: PeopleTruth) -> bool:
    return truth.rotmat is not None and len(truth) > 0 and (truth.posed is None or bool(truth.posed.any()))
