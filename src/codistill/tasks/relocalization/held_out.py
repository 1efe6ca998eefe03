"""Pairs to watch a fit by, of places that it does not train on.

Pairs that share an image, or whose images are of one scene of Map-free, stay together: on one side of the cut.
"""

from codistill.tasks.frozen.data import spread
from codistill.tasks.relocalization.pairs import FilePairs, PairData, PairSubset


def split_by_place(data: PairData, wanted: int) -> tuple[PairSubset, PairSubset]:
    """Training pairs, and held-out ones of other places.

    Whole places are taken from the end of the data set, none of them with more than half of all pairs; of more pairs
    than `wanted`, evenly spread ones are watched and the others left out. Where all pairs are of one place, none are
    held out.

    Args:
        data: all pairs, in their order.
        wanted: at most so many to hold out.
    """
    places = _places(data)
    members: dict[int, list[int]] = {}
    for index, place in enumerate(places):
        members.setdefault(place, []).append(index)
    held: list[int] = []
    for place in sorted(members, key=lambda p: members[p][-1], reverse=True):
        if len(held) >= wanted:
            break
        if len(held) + len(members[place]) <= len(data) // 2:
            held += members[place]
    rest = set(range(len(data))) - set(held)
    watched = [sorted(held)[number] for number in spread(len(held), wanted)] if held else []
    return PairSubset(data, tuple(sorted(rest))), PairSubset(data, tuple(watched))


def _places(data: PairData) -> list[int]:
    """A number of the place of each pair."""
    first_with: dict[str, int] = {}
    leader = list(range(len(data)))

    def found(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    for index in range(len(data)):
        for mark in _marks(data, index):
            other = first_with.setdefault(mark, index)
            leader[found(index)] = found(other)
    return [found(index) for index in range(len(data))]


def _marks(data: PairData, index: int) -> tuple[str, ...]:
    """What pairs of one place have in common: their scene, or an image. The world shows every room in one pair only."""
    if isinstance(data, PairSubset):
        return _marks(data.data, data.indices[index])
    if not isinstance(data, FilePairs):
        return ()
    return (data.scenes[index],) if data.scenes else tuple(str(view.image) for view in data.views[index])
