"""Workers outlive the signals that reach all processes of a job, and serve the step that is being finished."""

import multiprocessing
import os
import signal
from functools import partial

import torch
from torch.utils.data import DataLoader

from codistill.data.worker_signals import leave_signals_to_the_loader


def leave(_: int) -> None:
    leave_signals_to_the_loader()


def test_a_worker_that_is_signalled_still_gives_all_its_batches():
    loader = DataLoader(
        torch.arange(40),  # type: ignore[arg-type]
        batch_size=None,
        num_workers=1,
        prefetch_factor=1,
        worker_init_fn=partial(leave),
    )
    batches = iter(loader)
    seen = [int(next(batches))]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        for worker in multiprocessing.active_children():
            assert worker.pid is not None
            os.kill(worker.pid, number)
        seen += [int(next(batches)) for _ in range(5)]
    assert seen + [int(one) for one in batches] == list(range(40))
