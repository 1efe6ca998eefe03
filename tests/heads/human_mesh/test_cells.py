"""Detection: local maxima, plateaus, thresholds, nobody; numbering of people within images."""

import pytest
import torch

from codistill.errors import ConfigError
from codistill.heads.human_mesh.cells import (
    PersonCells,
    detect_most,
    detect_people,
    score_from_logits,
    suppress_neighbours,
)


def test_suppression_cell_by_cell() -> None:
    scores = torch.rand(3, 5, 8, generator=torch.Generator().manual_seed(0))
    found = suppress_neighbours(scores, 3)
    for image, row, column in torch.cartesian_prod(
        torch.arange(3), torch.arange(5), torch.arange(8)
    ).tolist():
        near = scores[image, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        own = scores[image, row, column]
        assert found[image, row, column] == (own if own == near.max() else 0.0)
    assert torch.equal(suppress_neighbours(scores, 1), scores)


def test_equal_neighbours_both_stay() -> None:
    scores = torch.zeros(1, 4, 4)
    scores[0, 1, 1:3] = 0.7
    cells = detect_people(scores, 0.5)
    assert cells.row.tolist() == [1, 1] and cells.column.tolist() == [1, 2]


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"odd number of cells.*got 2"):
        suppress_neighbours(torch.zeros(1, 4, 4), 2)


def test_threshold_is_inclusive_and_nobody_is_fine() -> None:
    scores = torch.full((2, 4, 4), 0.01)
    scores[1, 0, 3] = 0.2
    cells = detect_people(scores, 0.2)
    assert (cells.image.tolist(), cells.row.tolist(), cells.column.tolist(), cells.slots) == (
        [1],
        [0],
        [3],
        1,
    )
    empty = detect_people(scores, 0.5)
    assert len(empty) == 0 and empty.slots == 1


def test_slots_count_within_each_image_in_any_order() -> None:
    image = torch.tensor([2, 0, 2, 2, 0])
    cells = PersonCells.of(image, torch.arange(5), torch.arange(5))
    assert cells.slot.tolist() == [0, 0, 1, 2, 1] and cells.slots == 3
    seats = set(zip(image.tolist(), cells.slot.tolist(), strict=True))
    assert len(seats) == 5


def test_scores_stay_away_from_zero_and_one() -> None:
    scores = score_from_logits(torch.tensor([-100.0, 0.0, 100.0]).half())
    torch.testing.assert_close(scores, torch.tensor([1e-4, 0.5, 1 - 1e-4]))


@pytest.mark.parametrize("slots", [1, 2, 6, 30])
def test_a_stated_number_of_cells_holds_the_best_people_in_the_order_of_the_image(slots: int) -> None:
    """Against `detect_people`, cut to the highest scores of every image."""
    scores = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(0))
    scores[1] = 0.1  # nobody
    found = detect_most(scores, slots, threshold=0.3)
    assert found.slots == slots and len(found) == 3 * slots
    wanted = detect_people(scores, threshold=0.3)
    for image in range(3):
        people = [i for i in range(len(wanted)) if wanted.image[i] == image]
        best = sorted(people, key=lambda i: -scores[image, wanted.row[i], wanted.column[i]])[:slots]
        expected = [(int(wanted.row[i]), int(wanted.column[i])) for i in sorted(best)]
        mine = found.image == image
        rows = list(zip(found.row[mine].tolist(), found.column[mine].tolist(), strict=True))
        assert found.present is not None
        present = found.present[mine].tolist()
        assert present == [True] * len(expected) + [False] * (slots - len(expected))
        assert rows[: len(expected)] == expected and len(set(rows)) == slots
        assert found.slot[mine].tolist() == list(range(slots))


def test_more_people_than_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="7 people do not fit into 2x3 cells"):
        detect_most(torch.rand(1, 2, 3), 7)
