"""Random numbers as a function of where they are used, never of who draws them.

A counter-based generator (Philox, Salmon et al. 2011) takes (seed, purpose) as its key and (step, slot, attempt) as
its counter: any draw can be made at once, in any process, and no generator state has to be saved.
"""

import numpy as np

AUGMENT, REPLACE, RESOLUTION = 1, 2, 3
"""What a draw is for; equal counters with different purposes are independent."""

_MASK = (1 << 64) - 1


def generator(seed: int, purpose: int, step: int, slot: int = 0, attempt: int = 0) -> np.random.Generator:
    """A fresh generator for one image of one step.

    Args:
        seed: of the run, any integer.
        purpose: `AUGMENT`, `REPLACE`, `RESOLUTION`.
        step, slot: 0-based optimizer step, and place in its global batch.
        attempt: 0, then 1, 2, ... for the replacements of a bad image.
    """
    key = np.array([seed & _MASK, purpose], dtype=np.uint64)
    counter = np.array([0, attempt, slot, step], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
