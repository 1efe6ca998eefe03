"""A program that packs a folder of images and is killed at it: python packing_chaos.py IMAGES OUT KILLS.

Packs into OUT/0, OUT/1, ... until it was killed often enough and the last one is whole; prints each finished one.
Lives are forked from one process that has imported everything, so that dying is cheap.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from codistill.data import SourceConfig, open_source
from codistill.data.packing import pack_source

IMAGES_PER_SHARD = 25


def pack(images: Path, folder: Path) -> None:
    """Pack as `codistill index --pack` does."""
    source = open_source(SourceConfig(name="s", path=str(images)))
    pack_source(source, folder, images_per_shard=IMAGES_PER_SHARD, workers=2)


def live(images: Path, folder: Path) -> int:
    """One life: pack until killed or done. Its process id."""
    child = os.fork()
    if not child:
        pack(images, folder)
        os._exit(0)
    return child


def main() -> None:
    images, out, kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    chance, number, killed = random.Random(0), 0, 0
    while True:
        child = live(images, out / str(number))
        if killed < kills:
            time.sleep(chance.uniform(0.0, 0.3))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
            continue
        if os.WEXITSTATUS(status) != 0:
            raise SystemExit(f"a life of {number} failed with {status} after {killed} kills")
        print(f"{number} finished; {killed} kills", flush=True)
        number += 1
        if killed >= kills:
            return


if __name__ == "__main__":
    main()
