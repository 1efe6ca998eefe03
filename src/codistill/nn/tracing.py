"""Detect that a network is being exported: sizes are then symbolic, and no tensor may be cached for later calls.

`torch.export` runs a module's Python code with fake tensors, which hold no numbers. A table cached during an export
would be such a tensor, and comparing a symbolic size would fix it in the exported graph.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def is_tracing() -> bool:
    """Whether TorchScript's tracer is running, under which sizes are tensors."""
    return torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


def is_symbolic(*sizes: int) -> bool:
    """Whether one of these sizes is symbolic, i.e. not fixed in the program that is being exported."""
    return torch.compiler.is_exporting() and any(isinstance(size, torch.SymInt) for size in sizes)


def cached_unless_exporting(maxsize: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """As `functools.lru_cache`, but during an export the function is called and nothing is cached."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        cached = lru_cache(maxsize=maxsize)(function)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if torch.compiler.is_exporting() or is_tracing():
                return function(*args, **kwargs)
            return cached(*args, **kwargs)  # type: ignore[arg-type]

        return call

    return decorate
