"""Forked workers after this process used OpenCV's pool: they must start, with one thread each."""

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from codistill.imaging.threads import use_one_opencv_thread, without_opencv_threads


class Sizes(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        cv2.GaussianBlur(np.zeros((512, 512, 3), np.uint8), (9, 9), 3)
        return cv2.getNumThreads()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_start_after_the_pool_was_used(method: str) -> None:
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(3)
        for _ in range(3):
            cv2.GaussianBlur(np.zeros((2048, 2048, 3), np.uint8), (9, 9), 3)  # starts the pool
        loader = DataLoader(
            Sizes(),
            batch_size=None,
            num_workers=2,
            worker_init_fn=one_thread,
            multiprocessing_context=method,
            timeout=60,
        )
        with without_opencv_threads():
            started = iter(loader)
        assert cv2.getNumThreads() == 3
        assert list(started) == [1, 1, 1, 1]
    finally:
        cv2.setNumThreads(before)


def one_thread(_: int) -> None:
    use_one_opencv_thread()
