"""Weights follow from the seed, and nobody else's numbers do."""

import pytest
import torch
from torch import nn

from codistill.nn.seeded import seeded


def test_inside_depends_on_the_seed_and_outside_on_nothing() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(7)
    reference = nn.Linear(4, 4).weight
    torch.manual_seed(5)
    with seeded(7):
        weight = nn.Linear(4, 4).weight
    assert torch.equal(weight, reference)
    assert torch.equal(torch.rand(3), expected)


def test_generators_of_accelerators_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", asked.append)
    with seeded(7):
        nn.Linear(2, 2)
    assert asked == []


def test_numbers_do_not_depend_on_the_default_dtype() -> None:
    with seeded(7):
        expected = nn.Linear(4, 4).weight
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        with seeded(7):
            assert torch.equal(nn.Linear(4, 4).weight, expected)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(before)


def test_an_error_inside_leaves_the_generator_as_it_was() -> None:
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="size"), seeded(1):
        torch.rand(3) + torch.rand(4)
    assert torch.equal(torch.get_rng_state(), state)
