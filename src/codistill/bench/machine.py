"""Describe the machine on which speeds were measured: a device in, its description out."""

import os

import torch

from codistill.files.processor import processor_name


def where(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{threads()} thread(s) of {processor_name()}"


def threads() -> int:
    """Number of PyTorch's threads, at most the number of processors that this process may use."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(torch.get_num_threads(), cpus)
