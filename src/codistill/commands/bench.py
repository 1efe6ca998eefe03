"""`codistill bench step|loader|encoder|matching|world`: dispatches to one file per benchmark."""

import importlib

from codistill.errors import ConfigError, unknown_name

BENCHMARKS = {
    "step": "codistill.commands.bench_step:main",
    "loader": "codistill.commands.bench_loader:main",
    "encoder": "codistill.commands.bench_encoder:main",
    "matching": "codistill.commands.bench_matching:main",
    "world": "codistill.commands.bench_world:main",
}


def main(argv: list[str]) -> int:
    """Run one benchmark; `codistill bench NAME --help` says more."""
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: codistill bench {'|'.join(BENCHMARKS)} [arguments]")
        return 0 if argv else 2
    if argv[0] not in BENCHMARKS:
        raise ConfigError(unknown_name("benchmark", argv[0], BENCHMARKS))
    module, function = BENCHMARKS[argv[0]].split(":")
    return getattr(importlib.import_module(module), function)(argv[1:])
