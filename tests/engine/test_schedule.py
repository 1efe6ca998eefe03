import json

import pytest

from codistill.engine.schedule import cosine, warmup_cosine
from codistill.errors import ConfigError
from shared_files import golden


def test_golden_schedules_to_1e_12():
    recorded = json.loads(golden("schedules.json").read_text())
    assert recorded
    for key, expected in recorded.items():
        given = dict(part.split("=") for part in key.split(";"))
        warmup = float(given["warmup"])
        values = warmup_cosine(float(given["base"]), float(given["final"]), int(given["iters"]), warmup)
        assert len(values) == len(expected)
        assert max(abs(a - b) for a, b in zip(values, expected, strict=True)) <= 1e-12, key


def test_a_schedule_known_by_hand():
    assert warmup_cosine(4.0, 0.0, 6, 0.5) == pytest.approx([0.0, 2.0, 4.0, 4.0, 3.0, 1.0])


@pytest.mark.parametrize(("steps", "fraction"), [(1, 0.0), (1, 1.0), (3, 0.34), (7, 1.0)])
def test_length_and_start_at_the_edges(steps, fraction):
    values = warmup_cosine(1.0, 0.1, steps, fraction)
    assert len(values) == steps
    assert values[0] == (1.0 if int(fraction * steps) == 0 else 0.0)


def test_momentum_schedule_starts_at_one_and_never_reaches_its_end():
    values = cosine(1.0, 0.001, 50)
    assert values[0] == 1.0
    assert values[-1] > 0.001
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(
    ("steps", "fraction", "text"), [(0, 0.1, "at least 1 step"), (5, 1.5, "between 0 and 1")]
)
def test_impossible_schedules_say_what_is_allowed(steps, fraction, text):
    with pytest.raises(ConfigError, match=text):
        warmup_cosine(1.0, 0.0, steps, fraction)
