"""A program that starts runs and kills them: python engine_chaos.py FOLDER KILLS STEPS. Prints each finished run.

Lives are forked from one process that has imported everything, so that dying is cheap.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import engine_toys
import torch


def live(run: Path, steps: int) -> int:
    """One life: train until killed or done. Its process id."""
    child = os.fork()
    if child:
        return child
    os.close(2)
    os.open(os.devnull, os.O_WRONLY)
    summary = engine_toys.run_toy(run, steps=steps, checkpoint_every=7, change=engine_toys.with_bad_image)
    os._exit(0 if summary.finished else 1)


def main() -> None:
    folder, kills, steps = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    chance, run, killed = random.Random(0), 0, 0
    while True:
        child = live(folder / f"run{run}", steps)
        if killed < kills:
            time.sleep(chance.uniform(0.0, 1.0))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
            continue
        if os.WEXITSTATUS(status) != 0:
            raise SystemExit(f"a life of run{run} failed with {status} after {killed} kills")
        print(f"run{run} finished; {killed} kills", flush=True)
        run += 1
        if killed >= kills:
            return


if __name__ == "__main__":
    main()
