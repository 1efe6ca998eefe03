import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

for folder in ("", "people", "two_view/multiview"):  # task_toys, people_scenes, hilly_scene
    sys.path.insert(0, str(Path(__file__).parent / folder))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny tensors are fastest on one thread; and sums only repeat bit for bit on as many."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
