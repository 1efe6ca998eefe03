"""`codistill bench PART`: calls the file of a benchmark."""

from codistill.commands.dispatch import run_part

BENCHMARKS = {
    "step": "codistill.commands.bench_step:main",
    "loader": "codistill.commands.bench_loader:main",
    "store": "codistill.commands.bench_store:main",
    "encoder": "codistill.commands.bench_encoder:main",
    "export": "codistill.commands.bench_export:main",
    "matching": "codistill.commands.bench_matching:main",
    "perception": "codistill.commands.bench_perception:main",
    "live": "codistill.commands.bench_live:main",
    "world": "codistill.commands.bench_world:main",
    "traffic": "codistill.commands.bench_traffic:main",
}


def main(argv: list[str]) -> int:
    """Run one benchmark; `codistill bench NAME --help` says more."""
    return run_part("bench", "benchmark", BENCHMARKS, argv)
