"""Match pixels of two descriptor maps: fast reciprocal nearest neighbours, and all mutual nearest neighbours.

Takes descriptors (row, column, channel) of two images, gives pairs of pixels (x, y). The fast matcher follows a grid of
seeds back and forth until they stop moving: cycles of length one are mutual nearest neighbours. Similarities are dot
products in fp32, computed in blocks, so that full-resolution maps fit into memory. In ties the first pixel wins.
Source: MASt3R (arXiv 2406.09756), section 3.3.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from codistill.errors import ConfigError
from codistill.nn.precision import full_precision

_MAX_ROUNDS = 10
_GROUP = 64
# Dot products in memory at once: a few MiB that fit into a CPU's cache, more on a GPU. Multiples of _GROUP.
_CPU_BLOCK = (256, 4096)
_CPU_SQUARE = (1024, 1024)
_GPU_BLOCK = (8192, 8192)


@dataclass(frozen=True)
class Matches:
    """Pixel pairs.

    Attributes:
        pixels1, pixels2: (match, 2), integer (x, y) in the first and second map.
        confidence: (match,), or None without descriptor confidences.
    """

    pixels1: Int[Tensor, "match 2"]
    pixels2: Int[Tensor, "match 2"]
    confidence: Float[Tensor, " match"] | None = None

    def __len__(self) -> int:
        return len(self.pixels1)

    def select(self, which: Tensor) -> "Matches":
        """The matches selected by a mask (match,) or by indices (chosen,)."""
        confidence = None if self.confidence is None else self.confidence[which]
        return Matches(self.pixels1[which], self.pixels2[which], confidence)

    def away_from_borders(
        self, shape1: tuple[int, int], shape2: tuple[int, int], margin: int = 3
    ) -> "Matches":
        """Drop matches within `margin` pixels of a border of either (rows, columns) map."""
        inside = torch.ones(len(self), dtype=torch.bool, device=self.pixels1.device)
        for pixels, (rows, columns) in ((self.pixels1, shape1), (self.pixels2, shape2)):
            last = torch.tensor([columns, rows], device=pixels.device) - margin
            inside &= ((pixels >= margin) & (pixels < last)).all(-1)
        return self.select(inside)


def fast_reciprocal_matches(
    descriptors1: Float[Tensor, "row column channel"],
    descriptors2: Float[Tensor, "other_row other_column channel"],
    *,
    subsample: int = 8,
) -> Matches:
    """Mutual nearest neighbours found from a grid of seeds in the first map.

    Starting at each seed, the nearest neighbour in map 2 and its nearest neighbour in map 1 are taken in turn until a
    pixel repeats, for at most 10 rounds. Seeds that end in the same pair count once.

    Args:
        descriptors1, descriptors2: descriptors of two images; sizes may differ.
        subsample: seeds start at (subsample // 2) and are that far apart; 1 takes every pixel.

    Returns:
        Matches in the first map's pixel order.
    """
    flat1, flat2 = _flat(descriptors1), _flat(descriptors2)
    rows, columns = descriptors1.shape[:2]
    if subsample < 1:
        raise ConfigError(f"subsample must be at least 1; got {subsample}")
    y = torch.arange(rows, device=flat1.device)[subsample // 2 :: subsample]
    x = torch.arange(columns, device=flat1.device)[subsample // 2 :: subsample]
    index1 = (y[:, None] * columns + x).flatten()  # (seed,) row-major
    index2 = torch.full_like(index1, -1)  # (seed,) -1: no neighbour yet
    active = torch.arange(len(index1), device=flat1.device)  # seeds that are still moving
    converged = torch.zeros_like(index1, dtype=torch.bool)  # (seed,)
    for _ in range(_MAX_ROUNDS):
        found2 = nearest_neighbours(flat1[index1[active]], flat2)  # (active,)
        moved = found2 != index2[active]
        index2[active] = found2
        converged[active] = ~moved
        active = active[moved]  # fewer seeds in each round, which is worth the host synchronization
        found1 = nearest_neighbours(flat2[index2[active]], flat1)
        moved = found1 != index1[active]
        index1[active] = found1
        converged[active] = ~moved
        active = active[moved]
        if len(active) == 0:
            break
    return _unique(index1[converged], index2[converged], columns, descriptors2.shape[1])


def symmetric_matches(
    descriptors1: Float[Tensor, "row column channel"],
    descriptors2: Float[Tensor, "other_row other_column channel"],
    *,
    confidence1: Float[Tensor, "row column"] | None = None,
    confidence2: Float[Tensor, "other_row other_column"] | None = None,
    subsample: int = 8,
) -> Matches:
    """`fast_reciprocal_matches` from seeds in both maps, merged.

    Args:
        confidence1, confidence2: descriptor confidences; a match's confidence is the smaller of its two.

    Returns:
        Matches in the first map's pixel order, each once.
    """
    forth = fast_reciprocal_matches(descriptors1, descriptors2, subsample=subsample)
    back = fast_reciprocal_matches(descriptors2, descriptors1, subsample=subsample)
    pixels1 = torch.cat((forth.pixels1, back.pixels2))
    pixels2 = torch.cat((forth.pixels2, back.pixels1))
    columns1, columns2 = descriptors1.shape[1], descriptors2.shape[1]
    index1, index2 = (
        pixels[:, 1] * columns + pixels[:, 0]
        for pixels, columns in ((pixels1, columns1), (pixels2, columns2))
    )
    return with_confidence(_unique(index1, index2, columns1, columns2), confidence1, confidence2)


def mutual_matches(
    descriptors1: Float[Tensor, "row column channel"],
    descriptors2: Float[Tensor, "other_row other_column channel"],
) -> Matches:
    """All mutual nearest neighbours of two maps, found by comparing every pixel with every other once.

    Returns:
        Matches in the first map's pixel order; no pixel occurs twice.
    """
    flat1, flat2 = _flat(descriptors1), _flat(descriptors2)
    index12, index21 = _both_nearest(flat1, flat2)
    own = torch.arange(len(flat1), device=flat1.device)  # (pixel,)
    mutual = index21[index12] == own  # (pixel,)
    columns1, columns2 = descriptors1.shape[1], descriptors2.shape[1]
    return Matches(_pixels(own[mutual], columns1), _pixels(index12[mutual], columns2))


def with_confidence(matches: Matches, confidence1: Tensor | None, confidence2: Tensor | None) -> Matches:
    """The matches with the smaller of their two descriptor confidences; unchanged if one map is None."""
    if confidence1 is None or confidence2 is None:
        return matches
    values = [
        confidence[pixels[:, 1], pixels[:, 0]]
        for confidence, pixels in ((confidence1, matches.pixels1), (confidence2, matches.pixels2))
    ]
    return Matches(matches.pixels1, matches.pixels2, torch.minimum(*values))


def nearest_neighbours(
    queries: Float[Tensor, "query channel"], targets: Float[Tensor, "target channel"]
) -> Int[Tensor, " query"]:
    """Index of the target with the largest dot product; in ties the first one."""
    query_block, target_block = _GPU_BLOCK if queries.is_cuda else _CPU_BLOCK
    best = torch.full((len(queries),), -torch.inf, device=queries.device)
    index = torch.zeros(len(queries), dtype=torch.long, device=queries.device)
    with full_precision(queries):
        for start in range(0, len(queries), query_block):
            span = slice(start, start + query_block)
            for offset in range(0, len(targets), target_block):
                scores = queries[span] @ targets[offset : offset + target_block].T  # (query, target)
                _improve(best[span], index[span], *_first_max(scores), offset)
    return index


def _both_nearest(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """For every row of each tensor, the nearest neighbour in the other, from one pass over all dot products."""
    row_block, column_block = _GPU_BLOCK if first.is_cuda else _CPU_SQUARE
    best1, best2 = (torch.full((len(x),), -torch.inf, device=x.device) for x in (first, second))
    index1, index2 = (torch.zeros(len(x), dtype=torch.long, device=x.device) for x in (first, second))
    with full_precision(first):
        for start in range(0, len(first), row_block):
            rows = slice(start, start + row_block)
            for offset in range(0, len(second), column_block):
                columns = slice(offset, offset + column_block)
                scores = first[rows] @ second[columns].T  # (row, column)
                _improve(best1[rows], index1[rows], *_first_max(scores), offset)
                _improve(best2[columns], index2[columns], *_first_max_of_columns(scores), start)
    return index1, index2


def _first_max(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Largest value and its first index in every row: as `scores.max(dim=1)`, but several times faster on a CPU.

    The maximum of a group is vectorized; the search for its index is not, and runs in the winning group only.
    """
    rows, columns = scores.shape
    if columns % _GROUP:
        found = scores.max(dim=1)
        return found.values, found.indices
    grouped = scores.view(rows, -1, _GROUP)  # (row, group, within)
    winner = grouped.amax(dim=2).max(dim=1).indices  # (row,) first group with the maximum
    values, within = grouped[torch.arange(rows, device=scores.device), winner].max(dim=1)
    return values, winner * _GROUP + within


def _first_max_of_columns(scores: Tensor) -> tuple[Tensor, Tensor]:
    """As `scores.max(dim=0)`."""
    rows, columns = scores.shape
    if rows % _GROUP:
        found = scores.max(dim=0)
        return found.values, found.indices
    grouped = scores.view(-1, _GROUP, columns)  # (group, within, column)
    winner = grouped.amax(dim=1).max(dim=0).indices  # (column,)
    chosen = grouped[winner, :, torch.arange(columns, device=scores.device)]  # (column, within)
    values, within = chosen.max(dim=1)  # (column,)
    return values, winner * _GROUP + within


def _improve(best: Tensor, index: Tensor, values: Tensor, where: Tensor, offset: int) -> None:
    """In place, take values that are larger than `best`, and their indices shifted by `offset`."""
    better = values > best  # strictly larger, so that the first of equal values stays
    torch.where(better, values, best, out=best)
    torch.where(better, where + offset, index, out=index)


def _unique(index1: Tensor, index2: Tensor, columns1: int, columns2: int) -> Matches:
    """Distinct pairs of flat indices, sorted by the first index, as pixels."""
    pairs = torch.unique(torch.stack((index1, index2), dim=1), dim=0)
    return Matches(_pixels(pairs[:, 0], columns1), _pixels(pairs[:, 1], columns2))


def _pixels(index: Tensor, columns: int) -> Tensor:
    """Pixels (x, y) of row-major flat indices."""
    return torch.stack((index % columns, index // columns), dim=-1)


def _flat(descriptors: Tensor) -> Tensor:
    if descriptors.ndim != 3:
        raise ValueError(
            f"descriptors of one image must be (row, column, channel); got {tuple(descriptors.shape)}"
        )
    return descriptors.detach().float().flatten(0, 1)
