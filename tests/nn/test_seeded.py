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


def test_an_error_inside_leaves_the_generator_as_it_was() -> None:
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="size"), seeded(1):
        torch.rand(3) + torch.rand(4)
    assert torch.equal(torch.get_rng_state(), state)
