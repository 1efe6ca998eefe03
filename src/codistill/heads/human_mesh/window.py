"""Read pose and shape linearly from the tokens around a head: from `Tokens` of an image and the cells of people.

The cross-attention head must first learn where a person's body is before it can learn its pose. With a frozen encoder
this takes hundreds of thousands of steps. A window of cells around the head's cell, mostly below it, covers most of a
body, and a linear map of it has a closed-form fit (`tasks/people/least_squares`). This is not published.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import layer_norm, pad

from codistill.heads.human_mesh.cells import PersonCells
from codistill.nn.precision import full_precision


def window_tokens(
    patches: Float[Tensor, "batch patch channel"],
    grid: tuple[int, int],
    cells: PersonCells,
    window: tuple[int, int, int],
) -> Float[Tensor, "person values"]:
    """Tokens of the cells around each person's cell, each normalized separately, in one row; 0 outside of the image.

    Args:
        patches: un-normed or normed tokens.
        grid: rows and columns of the token map.
        cells: cells of the people.
        window: rows above, rows below, columns to each side.
    """
    above, below, aside = window
    normalized = layer_norm(patches.float(), (patches.shape[-1],))
    maps = pad(normalized.unflatten(1, grid), (0, 0, aside, aside, above, below))
    device = patches.device
    rows = cells.row[:, None, None] + torch.arange(above + below + 1, device=device)[:, None]
    columns = cells.column[:, None, None] + torch.arange(2 * aside + 1, device=device)
    return maps[cells.image[:, None, None], rows, columns].flatten(1)


class WindowReading(nn.Module):
    """A linear map from the window to `outputs` numbers, initialized to 0.

    Args:
        channels: channels of a token.
        window: see `window_tokens`.
        outputs: numbers per person.
    """

    def __init__(self, channels: int, window: tuple[int, int, int], outputs: int) -> None:
        super().__init__()
        above, below, aside = window
        self.window = window
        self.linear = nn.Linear((above + below + 1) * (2 * aside + 1) * channels, outputs)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, patches: Tensor, grid: tuple[int, int], cells: PersonCells) -> Tensor:
        """Numbers (person, outputs) read from the windows."""
        with full_precision(patches):
            return self.linear(window_tokens(patches, grid, cells, self.window))
