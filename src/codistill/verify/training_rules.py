"""Checks of single rules of training: learning-rate schedules and lowest-loss dropping.

In: `schedules.json`, `dropping.json`. Out: one result per schedule, and one per number that dropping determines.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import torch

from codistill.distill.dropping import lowest_loss_dropping
from codistill.engine.schedule import warmup_cosine
from codistill.verify.check import CheckResult, compare_numbers, failed, judged

SCHEDULE_TOLERANCE = 1e-12
DROPPING_TOLERANCE = 2e-5


def schedule_checks(path: Path) -> Iterator[CheckResult]:
    """Check every value of the recorded schedules, which are named `base=…;final=…;iters=…;warmup=…`."""
    for text, values in json.loads(path.read_text()).items():
        p = {key: float(value) for key, value in (part.split("=") for part in text.split(";"))}
        got = warmup_cosine(p["base"], p["final"], int(p["iters"]), p["warmup"])
        if len(got) != len(values):
            yield failed(
                f"schedule: {text}", SCHEDULE_TOLERANCE, f"{len(got)} values instead of {len(values)}"
            )
            continue
        worst = max(
            abs(a - b) / max(abs(b), 1e-300) if b else abs(a) for a, b in zip(got, values, strict=True)
        )
        yield judged(f"schedule: {text}", worst, SCHEDULE_TOLERANCE)


def dropping_checks(path: Path) -> Iterator[CheckResult]:
    """Check recorded lowest-loss dropping: kept teachers, the loss, each teacher's share."""
    record = json.loads(path.read_text())
    losses = torch.tensor(record["losses_teacher_by_image"])
    # The teacher with an image's highest loss has no draw, since it is always kept; any number serves.
    draws = [
        [0.0 if draw is None else draw for draw in row] for row in record["uniform_draw_image_by_teacher"]
    ]
    kept = lowest_loss_dropping(losses, torch.ones_like(losses), torch.tensor(draws).T, record["p"])
    wrong = (kept.T - torch.tensor(record["kept_image_by_teacher"]).float()).abs().max().item()
    yield compare_numbers("dropping: kept flags", 1.0 + wrong, 1.0, 0.0)
    loss = ((kept * losses).sum() / kept.sum()).item()
    yield compare_numbers("dropping: loss", loss, record["loss"], DROPPING_TOLERANCE)
    share = kept.sum(1) / kept.sum()
    for place, teacher in enumerate(record["teachers"]):
        name = f"dropping: coefficient of {teacher}"
        yield compare_numbers(name, share[place].item(), record["t_coeff"][teacher], DROPPING_TOLERANCE)
