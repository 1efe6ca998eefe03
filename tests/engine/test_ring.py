import math

import pytest
import torch

from codistill.engine.ring import MetricRing


def scalars(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in values.items()}


def test_every_step_comes_back_in_order_once():
    ring = MetricRing(3, torch.device("cpu"))
    for step in (7, 8, 9):
        assert not ring.full
        ring.add(step, scalars(loss=step / 2, other=float("nan")))
    assert ring.full
    rows = ring.read(lambda t: t)
    assert [(step, values["loss"]) for step, values in rows] == [(7, 3.5), (8, 4.0), (9, 4.5)]
    assert all(math.isnan(values["other"]) for _, values in rows)
    assert ring.read(lambda t: t) == [] and len(ring) == 0
    ring.add(10, scalars(loss=1.0, other=2.0))
    assert ring.read(lambda t: t) == [(10, {"loss": 1.0, "other": 2.0})]


def test_ranks_average_over_those_that_have_something_to_say():
    mine, other = (
        MetricRing(2, torch.device("cpu"), ("count",)),
        MetricRing(2, torch.device("cpu"), ("count",)),
    )
    for ring, a, b in ((mine, 1.0, float("nan")), (other, 3.0, 8.0)):
        ring.add(0, scalars(a=a, b=b, count=2.0))
        ring.add(1, scalars(a=float("nan"), b=float("inf"), count=0.0))
    packed = []
    other.read(lambda t: packed.append(t.clone()) or t)
    rows = dict(mine.read(lambda t: t.add_(packed[0])))
    assert rows[0] == {"a": 2.0, "b": 8.0, "count": 4.0}
    assert math.isnan(rows[1]["a"]) and math.isinf(rows[1]["b"]) and rows[1]["count"] == 0.0


def test_other_names_are_refused_with_what_differs():
    ring = MetricRing(3, torch.device("cpu"))
    ring.add(0, scalars(loss=1.0, a=1.0))
    with pytest.raises(ValueError, match=r"step 1 .*\['a'\]"):
        ring.add(1, scalars(loss=1.0))
    with pytest.raises(ValueError, match="another order"):
        ring.add(1, scalars(a=1.0, loss=1.0))
