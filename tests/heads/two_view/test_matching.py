"""Matching against brute force and the published test vectors; ties, blocks, unequal sizes, merging."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from codistill.errors import ConfigError
from codistill.heads.two_view import matching
from codistill.heads.two_view.matching import (
    Matches,
    fast_reciprocal_matches,
    mutual_matches,
    nearest_neighbours,
    symmetric_matches,
)


def unit_map(rows: int, columns: int, channels: int = 24, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(rows, columns, channels, generator=generator), dim=-1)


def pairs(matches: Matches) -> list[tuple[int, ...]]:
    return [tuple(row) for row in torch.cat((matches.pixels1, matches.pixels2), 1).tolist()]


def brute_force(first: Tensor, second: Tensor) -> set[tuple[int, ...]]:
    """All mutual nearest neighbours, from the whole similarity matrix."""
    scores = first.flatten(0, 1) @ second.flatten(0, 1).T
    forth, back = scores.argmax(1), scores.argmax(0)
    width1, width2 = first.shape[1], second.shape[1]
    return {
        (i % width1, i // width1, j % width2, j // width2)
        for i, j in enumerate(forth.tolist())
        if int(back[j]) == i
    }


def test_a_map_with_itself() -> None:
    found = fast_reciprocal_matches(unit_map(32, 48), unit_map(32, 48))
    assert len(found) == 24 and torch.equal(found.pixels1, found.pixels2)
    assert found.pixels1[:2].tolist() == [[4, 4], [12, 4]]


def test_a_rolled_map() -> None:
    first = unit_map(32, 48)
    found = fast_reciprocal_matches(first, first.roll((2, 3), (0, 1)))
    assert len(found) == 24
    size = torch.tensor([48, 32])
    assert ((found.pixels2 - found.pixels1) % size == torch.tensor([3, 2])).all()


@pytest.mark.parametrize("subsample", [1, 3, 8])
def test_what_is_found_is_mutual_and_mutual_seeds_are_found(subsample: int) -> None:
    first, second = unit_map(20, 26), unit_map(17, 30, seed=1)
    second[:17, :26] = normalize(first[:17] + 0.8 * second[:, :26], dim=-1)
    truth = brute_force(first, second)
    found = pairs(fast_reciprocal_matches(first, second, subsample=subsample))
    assert len(found) == len(set(found)) > 0
    assert set(found) <= truth
    seeds = {
        (x, y) for y in range(subsample // 2, 20, subsample) for x in range(subsample // 2, 26, subsample)
    }
    assert {pair for pair in truth if pair[:2] in seeds} <= set(found)
    assert found == sorted(found, key=lambda pair: (pair[1], pair[0]))


def test_all_mutual_matches_are_brute_force() -> None:
    first, second = unit_map(21, 33), unit_map(40, 19, seed=1)
    found = pairs(mutual_matches(first, second))
    assert set(found) == brute_force(first, second) and len(found) == len(set(found))


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = unit_map(13, 17), unit_map(15, 19, seed=1)
    whole = nearest_neighbours(first.flatten(0, 1), second.flatten(0, 1))
    mutual = pairs(mutual_matches(first, second))
    monkeypatch.setattr(matching, "_CPU_BLOCK", (64, 128))
    monkeypatch.setattr(matching, "_CPU_SQUARE", (128, 64))
    assert torch.equal(nearest_neighbours(first.flatten(0, 1), second.flatten(0, 1)), whole)
    assert pairs(mutual_matches(first, second)) == mutual


@pytest.mark.parametrize("count", [64, 200, 256, 5000])
def test_the_first_of_equal_neighbours_wins(count: int) -> None:
    """Everywhere: within a group, across groups, across blocks."""
    targets = torch.eye(4).repeat(count, 1)[:count]
    assert nearest_neighbours(torch.eye(4), targets).tolist() == [0, 1, 2, 3]
    constant = torch.ones(count, 4)
    assert nearest_neighbours(torch.ones(3, 4), constant).tolist() == [0, 0, 0]
    flat = torch.ones(64, count // 8, 4)
    assert pairs(mutual_matches(flat, torch.ones(2, 128, 4))) == [(0, 0, 0, 0)]


def test_runs_that_end_in_one_pair_count_once() -> None:
    """Every seed falls to the one distinct pixel."""
    first, second = torch.zeros(16, 16, 2), torch.zeros(16, 16, 2)
    first[..., 0] = second[..., 0] = 1.0
    first[5, 6] = second[9, 3] = torch.tensor([2.0, 0.0])
    assert pairs(fast_reciprocal_matches(first, second, subsample=4)) == [(6, 5, 3, 9)]


def test_symmetric_matches_merge_both_directions() -> None:
    first, second = unit_map(24, 32), unit_map(32, 24, seed=1)
    second[:24, :24] = normalize(first[:, :24] + 0.6 * second[:24], dim=-1)
    confidence1, confidence2 = torch.rand(24, 32), torch.rand(32, 24)
    found = symmetric_matches(first, second, confidence1=confidence1, confidence2=confidence2)
    swapped = symmetric_matches(second, first, confidence1=confidence2, confidence2=confidence1)
    assert set(pairs(found)) == {(a, b, c, d) for c, d, a, b in pairs(swapped)}
    forth = pairs(fast_reciprocal_matches(first, second))
    back = pairs(fast_reciprocal_matches(second, first))
    assert set(pairs(found)) == set(forth) | {(a, b, c, d) for c, d, a, b in back}
    assert len(found) == len(set(pairs(found)))
    assert found.confidence is not None
    for (x1, y1, x2, y2), value in zip(pairs(found), found.confidence.tolist(), strict=True):
        assert value == min(float(confidence1[y1, x1]), float(confidence2[y2, x2]))


def test_matches_near_borders_are_dropped() -> None:
    inside = torch.tensor([[3, 3], [2, 5], [5, 2], [28, 8], [29, 8], [8, 16], [8, 17]])
    middle = torch.full_like(inside, 10)
    for matches in (Matches(inside, middle), Matches(middle, inside)):
        kept = matches.away_from_borders((20, 32), (20, 32))
        chosen = kept.pixels1 if matches.pixels1 is inside else kept.pixels2
        assert chosen.tolist() == [[3, 3], [28, 8], [8, 16]]


def test_half_precision_descriptors_match_in_fp32() -> None:
    first = unit_map(16, 16).half()
    assert len(fast_reciprocal_matches(first, first.roll(1, 0), subsample=4)) == 16


def test_nothing_to_seed_and_wrong_input() -> None:
    assert len(fast_reciprocal_matches(unit_map(3, 3), unit_map(3, 3), subsample=8)) == 0
    with pytest.raises(ConfigError, match="subsample must be at least 1; got 0"):
        fast_reciprocal_matches(unit_map(3, 3), unit_map(3, 3), subsample=0)
    with pytest.raises(ValueError, match=r"one image must be \(row, column, channel\); got \(1, 3, 3, 24\)"):
        mutual_matches(unit_map(3, 3)[None], unit_map(3, 3))
