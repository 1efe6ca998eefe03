"""A head goes through the engine: what is checked first, what is told in the end, and when there is nothing to tell."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from stopping import stopping_after
from torch import nn

from codistill.engine.distributed import Process
from codistill.engine.objective import StepContext, StepResult
from codistill.engine.optim import OptimConfig
from codistill.errors import ConfigError
from codistill.files.inputs import Inputs
from codistill.nn.precision import Precision
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.head_fit import FitFacts, HeadTraining, run_head_fit
from codistill.types import Batch

OLD, NEW = (Inputs(((("a.png", stamp),),)) for stamp in "12")


class MeanOfPixels:
    """Predicts an image's mean."""

    def __init__(self) -> None:
        self.trainable: nn.Module = nn.Linear(1, 1)

    def to_device(self, device: Any) -> None:
        pass

    def step(self, model: nn.Module, batch: Batch, context: StepContext) -> StepResult:
        error = model(torch.ones(len(batch), 1))[:, 0] - batch.images.mean((1, 2, 3))
        return StepResult(error.square().mean(), {"bias": error.detach().mean()})

    def evaluate(self, model: nn.Module, batches: Iterable[Batch], context: StepContext) -> dict[str, float]:
        return {"held": 3.0}

    def describe(self) -> dict[str, Any]:
        return {}


def batches(start: int) -> Iterator[Batch]:
    for step in range(start, 8):
        yield Batch(torch.full((2, 3, 4, 4), float(step)), ("generic",) * 2, ("a",) * 2, ("x", "y"))


def fit(
    out: Path,
    inputs: Inputs = OLD,
    called: list[str] | None = None,
    every: int = 0,
    precision: Precision = "auto",
) -> FitFacts | None:
    order = [] if called is None else called

    def prepare() -> HeadTraining[Batch]:
        order.append("prepare")
        held_out = (lambda: batches(7)) if every else None
        return HeadTraining(
            objective=MeanOfPixels(), train_batches=batches, val_batches=held_out, validate_every=every
        )

    def today() -> Inputs:
        order.append("inputs")
        return inputs

    return run_head_fit(
        prepare,
        today,
        config=OptimConfig(),
        steps=8,
        seed=1,
        optim=OptimConfig(),
        batch_size=2,
        runtime=Runtime(out=out),
        process=Process(device=torch.device("cpu")),
        precision=precision,
    )


def test_facts_of_a_finished_fit(tmp_path: Path) -> None:
    called: list[str] = []
    facts = fit(tmp_path, called=called, every=4)
    assert facts is not None and called == ["inputs", "prepare"]
    assert set(facts.losses) == {"loss", "bias"} and isinstance(facts.trained, nn.Linear)
    record = facts.as_record()
    assert record["steps"] == 8 and record["device"] == "cpu" and record["validation"] == {"held": 3.0}
    assert record["seconds_per_step"] > 0 and "data_changed" not in record
    finished = fit(tmp_path)
    assert finished is not None and finished.seconds_per_step is None
    assert not {"losses", "validation", "data_changed"} & finished.as_record().keys()
    assert torch.equal(finished.trained.weight, facts.trained.weight)  # type: ignore[arg-type]


def test_precision_reaches_the_forward_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    step = MeanOfPixels.step

    def watched(self: MeanOfPixels, *args: Any) -> StepResult:
        seen.append(torch.is_autocast_enabled("cpu"))
        return step(self, *args)

    monkeypatch.setattr(MeanOfPixels, "step", watched)
    assert fit(tmp_path / "bf16", precision="bf16") and fit(tmp_path / "auto")
    assert seen == [True] * 8 + [False] * 8


def test_a_stopped_fit_tells_nothing_and_goes_on_with_what_changed(tmp_path: Path) -> None:
    with stopping_after(2):
        assert fit(tmp_path) is None
    facts = fit(tmp_path, NEW)
    assert facts is not None and facts.data_changed == ("changed: a.png",)
    (tmp_path / "head.json").write_text("{}")
    called: list[str] = []
    with pytest.raises(ConfigError, match="fitted on other data"):
        fit(tmp_path, OLD, called)
    assert called == ["inputs"]  # nothing is encoded for a fit that is refused
