"""Find the counterpart of each joint on the other side: by its name, or by its position on the symmetric body.

In: names and positions of joints in the rest pose. Out: for each joint the index of its counterpart. Positions are
needed for face landmarks, which have numbers, not names.
"""

import re
from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

NO_COUNTERPART: Final = -1

TOLERANCE: Final = 0.01
"""Largest distance, in metres, between a joint's mirror image and its counterpart; templates are symmetric to 3 mm."""

_SIDE = re.compile(r"^(left|right)(?=_)|(?<=_)(left|right)(?=_|$)|(?<=\.)([LR])$")
_OTHER = {"left": "right", "right": "left", "L": "R", "R": "L"}


def counterparts(names: Sequence[str]) -> tuple[int, ...]:
    """For each name the index of its counterpart (`left_hip` and `right_hip`, `foot.L` and `foot.R`), else its own."""
    index = {name: i for i, name in enumerate(names)}
    other = (_SIDE.sub(lambda match: _OTHER[match[0]], name) for name in names)
    return tuple(index.get(name, i) for i, name in enumerate(other))


def joint_counterparts(names: Sequence[str], rest: Float[Tensor, "joint 3"]) -> tuple[int, ...]:
    """For each joint the index of its counterpart: its own on the midline, `NO_COUNTERPART` if there is none.

    Joints whose names differ only in their side are counterparts. For any other joint, the counterpart is the joint
    nearest to its mirror image, if the relation is mutual and the distance is within `TOLERANCE`.

    Args:
        names: names of the joints.
        rest: (joint, 3) positions in the rest pose of the mean shape, in metres, with x across the body.
    """
    found = [other if other != i else NO_COUNTERPART for i, other in enumerate(counterparts(names))]
    pairs = [(i, other) for i, other in enumerate(found) if other != NO_COUNTERPART]
    rest = rest.double()
    middle = torch.stack([(rest[i, 0] + rest[j, 0]) / 2 for i, j in pairs]).mean() if pairs else 0.0
    free = [i for i, other in enumerate(found) if other == NO_COUNTERPART]
    if free:
        points = rest[free] - torch.tensor([float(middle), 0.0, 0.0], dtype=rest.dtype, device=rest.device)
        away = torch.cdist(points * points.new_tensor([-1.0, 1.0, 1.0]), points)  # (mirrored, joint)
        # If several joints have the same position on the midline, each is its own counterpart.
        nearest = (away - 1e-6 * torch.eye(len(free), dtype=away.dtype, device=away.device)).argmin(1)
        mutual = nearest[nearest] == torch.arange(len(free), device=nearest.device)
        for i, joint in enumerate(free):
            if mutual[i] and away[i, nearest[i]] <= TOLERANCE:
                found[joint] = free[int(nearest[i])]
    return tuple(found)
