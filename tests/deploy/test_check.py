"""Differences of two networks' outputs, and on which inputs they are looked for."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from codistill.deploy.check import Case, Differences, cases, compare, finite, sizes_to_check
from codistill.deploy.config import ExportConfig
from codistill.deploy.exportable import Sizes
from codistill.deploy.pictures import Pictures
from codistill.errors import DataError


def test_differences_are_relative_to_the_outputs_root_mean_square() -> None:
    wanted = torch.tensor([3.0, -4.0, 0.0])  # RMS 5 / sqrt(3)
    seen = Differences()
    seen.see(wanted + torch.tensor([0.0, 0.5, 0.0]), wanted)
    assert seen.largest == pytest.approx(0.5 / (5 / math.sqrt(3)))
    assert seen.mean == pytest.approx(0.5 / math.sqrt(3) / (5 / math.sqrt(3)))
    seen.see(wanted, wanted)  # the largest of all cases stays
    assert seen.largest > 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_differs_infinitely(bad: float) -> None:
    seen = Differences()
    seen.see(torch.tensor([1.0, bad]), torch.tensor([1.0, 2.0]))
    assert seen.largest == math.inf
    same = Differences()
    same.see(torch.tensor([1.0, bad]), torch.tensor([1.0, bad]))
    assert same.largest == 0.0


def test_another_shape_or_a_wrong_zero_differs_infinitely() -> None:
    for found, wanted in ((torch.ones(2), torch.ones(3)), (torch.ones(2), torch.zeros(2))):
        seen = Differences()
        seen.see(found, wanted)
        assert seen.largest == math.inf
    flags = Differences()
    flags.see(torch.tensor([True, False]), torch.tensor([True, True]))
    assert flags.largest == 1.0


def test_every_output_has_its_own_differences() -> None:
    cases = [Case("a", {"x": torch.ones(2)}), Case("b", {"x": torch.full((2,), 2.0)})]
    checks = compare(
        lambda i: {"p": i["x"], "q": 1.5 * i["x"]}, lambda i: {"p": i["x"], "q": i["x"]}, ["p", "q"], cases
    )
    assert [(check.output, check.largest) for check in checks] == [("p", 0.0), ("q", 0.5)]


def test_a_network_without_finite_outputs_cannot_pass() -> None:
    """NaN would differ by nothing from NaN."""
    run = finite(lambda inputs: {"p": inputs["x"], "q": torch.tensor([True])})
    assert compare(run, run, ["p", "q"], [Case("a", {"x": torch.ones(2)})])[0].largest == 0.0
    with pytest.raises(DataError, match=r"^p of eager PyTorch are not finite"):
        compare(run, run, ["p", "q"], [Case("a", {"x": torch.tensor([1.0, math.nan])})])


def test_sizes_are_rectangles_and_the_native_square() -> None:
    sizes = sizes_to_check(ExportConfig(), 14, 518)
    assert len({(s.rows, s.columns) for s in sizes}) == 3 and (sizes[-1].rows, sizes[-1].columns) == (37, 37)
    assert {s.batch for s in sizes} == {1, 2}
    fixed = sizes_to_check(ExportConfig(size=(28, 42), batch=4), 14, 518)
    assert [(s.batch, s.rows, s.columns) for s in fixed] == [(4, 2, 3)]
    half_open = sizes_to_check(ExportConfig(size=(28, 42)), 14, 518)
    assert [(s.batch, s.rows, s.columns) for s in half_open] == [(1, 2, 3), (2, 2, 3)]


@pytest.mark.parametrize(("count", "wanted"), [(9, [0, 1, 2, 3]), (3, [0, 1, 2, 0])])
def test_every_batch_is_of_the_next_pictures(count: int, wanted: list[int]) -> None:
    """As many as the text says."""
    network = SimpleNamespace(about=SimpleNamespace(patch_size=2), example=lambda size, images: {"x": images})
    pictures = Pictures("of the spots", count, lambda number: np.full((5, 4, 3), number, np.uint8))
    sizes = [Sizes(batch=batch, rows=2, columns=3) for batch in (1, 2, 1)]
    of_pictures = [case for case in cases(network, sizes, pictures) if "spots" in case.about]
    seen = [int(image[0, 0, 0]) for case in of_pictures for image in case.inputs["x"]]
    assert seen == wanted
    assert of_pictures[1].about == f"{len(set(wanted))} of the spots, 2 of 4x6"
