"""Random numbers that depend only on their purpose and place; the same in any process.

A counter-based generator (Philox, Salmon et al. 2011) takes (seed, purpose) as its key and (step, slot, attempt) as its
counter. Any draw can be made directly, and no generator state has to be saved.

Some draws have a scheme of their own, because recorded runs and built worlds depend on it: losses that are dropped
(`distill/dropping.py`), PyTorch's generators within a step (`engine/step.py`), the order of many correspondences
(`tasks/two_view/objective.py`), the share that a logistic fit holds out, resampling (`metrics/interval.py`), and the
world's scenes (`world/identity.py`). A new draw gets a purpose here.
"""

from enum import IntEnum, unique

import numpy as np


@unique
class Purpose(IntEnum):
    """Purpose of a draw. Equal counters with different purposes give independent draws.

    All purposes are listed here, so that no number is used twice. Recorded runs depend on these numbers: a used number
    keeps its meaning, and a new purpose gets a new number.
    """

    AUGMENT = 1  # what happens to a training image
    REPLACE = 2  # which image replaces a bad one
    RESOLUTION = 3  # image side of a step
    TEACHER_SIZE = 4  # image side of a teacher in a step
    ASPECT = 6  # width over height of a step's images
    SHIFT = 5  # where a teacher's window lies in a step's crops
    DENSE_VIEW = 11  # crop and colours of a labelled image
    DENSE_PIXELS = 12  # pixels of a view that a frozen-feature fit learns from
    DENSE_ORDER = 13  # what is held out of training to choose by
    PAIR_VIEW = 21  # crops and colours of a pair of views
    PAIR_MATCHES = 22  # correspondences of a pair
    PAIR_ORDER = 23  # order of cached pairs
    PAIR_SHAPE = 24  # aspect ratio and turn of a step's pairs
    PEOPLE_MIRROR = 31  # whether a picture of people is mirrored


AUGMENT, REPLACE, RESOLUTION = Purpose.AUGMENT, Purpose.REPLACE, Purpose.RESOLUTION
TEACHER_SIZE, SHIFT, ASPECT = Purpose.TEACHER_SIZE, Purpose.SHIFT, Purpose.ASPECT

_MASK = (1 << 64) - 1


def generator(seed: int, purpose: Purpose, step: int, slot: int = 0, attempt: int = 0) -> np.random.Generator:
    """Create a generator for one image of one step.

    Args:
        seed: of the run, any integer.
        purpose: what is drawn.
        step, slot: 0-based optimizer step, and place in its global batch.
        attempt: 0, then 1, 2, ... for the replacements of a bad image.
    """
    key = np.array([seed & _MASK, purpose], dtype=np.uint64)
    counter = np.array([0, attempt, slot, step], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
