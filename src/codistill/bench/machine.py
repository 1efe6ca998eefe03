"""The machine that speeds were measured on: a device in, its description out."""

import os

import torch

from codistill.files.processor import processor_name


def where(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{threads()} thread(s) of {processor_name()}"


def threads() -> int:
    """Threads of PyTorch, at most the processors of this process."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(torch.get_num_threads(), cpus)
