"""The window around a head: against explicit loops, at the border, and as a correction of the head's own output."""

from dataclasses import replace

import pytest
import torch
from people_toys import SMALL, made_cameras, made_cells, made_head, made_tokens
from torch.nn.functional import layer_norm

from codistill.errors import ConfigError
from codistill.heads.human_mesh.cells import PersonCells
from codistill.heads.human_mesh.window import window_tokens

GRID = (3, 4)


def test_windows_are_cut_cell_by_cell_and_zero_outside() -> None:
    patches = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(0))
    cells = PersonCells.of(torch.tensor([0, 1, 1]), torch.tensor([0, 2, 1]), torch.tensor([0, 3, 2]))
    found = window_tokens(patches, GRID, cells, (1, 2, 1))
    maps = layer_norm(patches, (5,)).reshape(2, *GRID, 5)
    for person, (image, row, column) in enumerate([(0, 0, 0), (1, 2, 3), (1, 1, 2)]):
        expected = []
        for r in range(row - 1, row + 3):
            for c in range(column - 1, column + 2):
                inside = 0 <= r < GRID[0] and 0 <= c < GRID[1]
                expected.append(maps[image, r, c] if inside else torch.zeros(5))
        torch.testing.assert_close(found[person], torch.cat(expected))
    assert window_tokens(patches, GRID, PersonCells.of(*torch.zeros(3, 0).long()), (1, 2, 1)).shape == (0, 60)


def test_it_is_added_to_pose_and_shape_and_to_nothing_else() -> None:
    head = made_head(replace(SMALL, window=(0, 1, 1)))
    tokens, cameras, cells = made_tokens(), made_cameras(), made_cells()
    before = head(tokens, cameras, cells).people
    shift = torch.arange(6.0 * head.config.n_rot + head.config.n_shape)
    with torch.no_grad():
        head.around.linear.bias.copy_(shift)
    after = head(tokens, cameras, cells).people
    pose = (after.pose_6d - before.pose_6d).flatten(1)
    torch.testing.assert_close(torch.cat((pose, after.shape - before.shape), 1), shift.expand(len(pose), -1))
    for name in ("score", "offset", "encoded_depth"):
        assert torch.equal(getattr(before, name), getattr(after, name)), name


def test_sizes_must_not_be_negative() -> None:
    with pytest.raises(ConfigError, match="window must be three numbers of 0 or more"):
        replace(SMALL, window=(1, -1, 0))
