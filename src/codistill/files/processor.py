"""Name of this machine's processor, as its system gives it."""

import platform
from pathlib import Path


def processor_name() -> str:
    """Read the name from Linux, otherwise from Python.

    Where virtual machines hide the model, its family and number tell kinds of processors apart.
    """
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    first = dict(
        reversed([(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)])
    )
    name = first.get("model name")
    if not name:
        return platform.processor() or platform.machine()
    numbers = [
        f"{word} {first[key]}" for word, key in (("family", "cpu family"), ("model", "model")) if key in first
    ]
    return f"{name} ({', '.join(numbers)})" if numbers else name
