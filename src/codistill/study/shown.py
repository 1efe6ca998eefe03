"""Format times and numbers of operations."""


def shown_time(seconds: float) -> str:
    """`48 s`, `12.5 min`, `3.1 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def shown_flops(count: float) -> str:
    """`3.04 GFLOP`, `12.7 PFLOP`."""
    known = ((1e15, "P"), (1e12, "T"))
    unit, letter = next(((unit, letter) for unit, letter in known if count >= unit), (1e9, "G"))
    return f"{count / unit:.3g} {letter}FLOP"
