"""The machine that speeds were measured on: a device in, its description out."""

import os
import platform
from pathlib import Path

import torch


def where(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{threads()} thread(s) of {cpu_name()}"


def threads() -> int:
    """Threads of PyTorch, at most the processors of this process."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(torch.get_num_threads(), cpus)


def cpu_name() -> str:
    """The processor's name from Linux, else from Python."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
