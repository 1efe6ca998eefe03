from dataclasses import dataclass

import pytest
import torch
from torch.utils.data import Dataset

from codistill.errors import DataError
from codistill.tasks.shared.workers import made_by_workers


@dataclass(frozen=True)
class Square:
    value: int
    threads: int


class Squares(Dataset[Square]):
    def __getitem__(self, request: int) -> Square:
        if request == 3:
            raise DataError("three.jpg: is damaged")
        return Square(request * request, torch.get_num_threads())


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_made_comes_in_the_order_of_the_requests(workers):
    made = made_by_workers(Squares(), iter([5, 1, 4]), workers=workers, device=torch.device("cpu"))
    found = list(made)
    assert [one.value for one in found] == [25, 1, 16]
    assert workers == 0 or {one.threads for one in found} == {1}


@pytest.mark.parametrize("workers", [0, 2])
def test_what_cannot_be_used_is_said_in_its_own_words(workers):
    made = made_by_workers(Squares(), [2, 3, 4], workers=workers, device=torch.device("cpu"))
    assert next(made).value == 4
    with pytest.raises(DataError, match=r"^three\.jpg: is damaged$"):
        next(made)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    list(made_by_workers(Squares(), [1, 2], workers=1, device=torch.device("cpu")))
    assert torch.equal(torch.rand(1), expected)
