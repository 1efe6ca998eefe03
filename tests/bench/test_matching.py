"""Made descriptors: one place seen twice."""

import torch

from codistill.bench.matching import made_descriptors


def test_made_descriptors_are_of_one_place():
    first, second, truth, seen = made_descriptors((48, 64), 24, 0.0)
    assert 0.5 < seen.float().mean() < 1
    y, x = torch.nonzero(seen, as_tuple=True)
    there = truth[y, x].round().long()
    likeness = (first[y, x] * second[there[:, 1].clamp(max=47), there[:, 0].clamp(max=63)]).sum(-1)
    assert likeness.median() > 0.95  # half a pixel apart at most
