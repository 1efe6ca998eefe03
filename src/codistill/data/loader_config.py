"""Options of both loaders, and the default number of workers of a process."""

import os
from dataclasses import dataclass, field
from typing import Literal

from codistill.errors import ConfigError
from codistill.files.remote.config import RemoteConfig
from codistill.imaging import MAX_PIXELS

_CHANGEABLE = {"changeable": True}
START_METHODS = ("auto", "fork", "forkserver", "spawn")
_MOST_WORKERS = 16


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """How batches are loaded.

    Attributes:
        batch_size: images of a step over all ranks (a multiple of the number of ranks).
        image_size: side of the square images, in pixels.
        num_workers: worker processes per rank. 0: this process loads. None: as many as this process has CPUs, divided
            among the ranks of the machine, at most 16. The batches do not depend on it.
        prefetch: batches that each worker keeps ready.
        start_method: start method of workers. `auto` is forkserver if available: fork can deadlock in the thread pools
            of PyTorch and OpenCV. With forkserver, as with spawn, a script needs `if __name__ == "__main__":`.
        max_attempts: number of bad images in a row that ends the run.
        max_pixels: larger images count as bad (decompression bombs).
        remote: how sources in a store (`s3://…`) are read.
    """

    batch_size: int = 128
    image_size: int = 336
    num_workers: int | None = field(default=None, metadata=_CHANGEABLE)
    prefetch: int = field(default=2, metadata=_CHANGEABLE)
    start_method: Literal["auto", "fork", "forkserver", "spawn"] = field(default="auto", metadata=_CHANGEABLE)
    max_attempts: int = 20
    max_pixels: int = MAX_PIXELS
    remote: RemoteConfig = field(default_factory=RemoteConfig, metadata=_CHANGEABLE)

    def __post_init__(self) -> None:
        for name in ("batch_size", "image_size", "prefetch", "max_attempts", "max_pixels"):
            if getattr(self, name) < 1:
                raise ConfigError(f"loader: {name} must be positive; got {getattr(self, name)}")
        if self.num_workers is not None and self.num_workers < 0:
            raise ConfigError(f"loader: num_workers must be 0 or more, or None; got {self.num_workers}")
        if self.start_method not in START_METHODS:
            raise ConfigError(
                f"loader: start_method must be one of {', '.join(START_METHODS)}; got {self.start_method!r}"
            )


def default_workers() -> int:
    """Number of CPUs of this process, divided among the ranks of this machine (LOCAL_WORLD_SIZE); at most 16."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(_MOST_WORKERS, cpus // max(1, ranks)))
