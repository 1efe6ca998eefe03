import threading
from datetime import timedelta

import pytest
from torch.distributed import HashStore

from codistill.engine.rendezvous import agree_on_a_name

LIMIT = timedelta(seconds=20)


def meet(store: HashStore, ranks: list[int], world_size: int) -> set[str]:
    names: list[str] = []
    threads = [
        threading.Thread(target=lambda r=rank: names.append(agree_on_a_name(store, r, world_size, LIMIT)))
        for rank in ranks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == len(ranks)
    return set(names)


def test_each_generation_gets_a_name_of_its_own_on_the_same_store():
    store = HashStore()
    first = meet(store, [0, 1, 2], 3)
    store.set("greeting/1", "of a process that died before it was answered")
    second = meet(store, [2, 0, 1], 3)
    third = meet(store, [1, 2, 0], 3)
    assert len(first) == len(second) == len(third) == 1
    assert len(first | second | third) == 3


def test_ranks_that_never_come_are_named():
    store = HashStore()
    store.set("greeting/1", "of the dead")
    with pytest.raises(RuntimeError, match=r"ranks \[1, 2\] of 3 did not start"):
        agree_on_a_name(store, 0, 3, timedelta(seconds=0.1))
