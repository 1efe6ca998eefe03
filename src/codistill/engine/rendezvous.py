"""Connect the processes of a run: turn torchrun's store into one that only the processes alive now use.

When a process dies, torchrun restarts all of them on the same store, which still holds the old addresses. A process
that starts early would read these and fail to connect. The ranks therefore first agree on a new name: each rank writes
a fresh random greeting, rank 0 answers it with the name, and all later keys are stored under that name.
"""

import time
import uuid
from datetime import timedelta

from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous  # pyright: ignore[reportUnknownVariableType]

_POLL = 0.02  # seconds


def store_of_the_living(rank: int, world_size: int, timeout: timedelta = timedelta(minutes=30)) -> Store:
    """Create a store for `init_process_group`, from torchrun's environment.

    Raises:
        ValueError: if the environment lacks the address of the store.
        RuntimeError: if not all ranks start in time.
    """
    store, _, _ = next(rendezvous("env://", rank, world_size, timeout=timeout))
    name = agree_on_a_name(PrefixStore("codistill", store), rank, world_size, timeout)
    return PrefixStore(name, store)


def agree_on_a_name(store: Store, rank: int, world_size: int, timeout: timedelta) -> str:
    """Agree on a name that is new and the same on all living ranks."""
    if rank == 0:
        return _answer_greetings(store, world_size, timeout)
    greeting = uuid.uuid4().hex
    store.set(f"greeting/{rank}", greeting)
    name = store.get(f"answer/{rank}/{greeting}").decode()  # waits for it
    store.set(f"here/{name}/{rank}", "")
    return name


def _answer_greetings(store: Store, world_size: int, timeout: timedelta) -> str:
    name, missing = uuid.uuid4().hex, set(range(1, world_size))
    answered: set[str] = set()
    deadline = time.monotonic() + timeout.total_seconds()
    while missing:
        for rank in sorted(missing):
            if store.check([f"here/{name}/{rank}"]):
                missing.discard(rank)
            elif store.check([f"greeting/{rank}"]):
                greeting = store.get(f"greeting/{rank}").decode()
                if greeting not in answered:  # a dead process's greeting is answered too, without effect
                    store.set(f"answer/{rank}/{greeting}", name)
                    answered.add(greeting)
        if missing and time.monotonic() > deadline:
            raise RuntimeError(f"ranks {sorted(missing)} of {world_size} did not start within {timeout}")
        time.sleep(_POLL if missing else 0.0)
    return name
