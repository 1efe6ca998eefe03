"""A program that trains on several gloo processes and disturbs them: python engine_worlds.py FOLDER SEED RUN…

A RUN is STRATEGY,RANKS,HELD_OUT,EVENT+EVENT…; `random` stands for events drawn from the seed, `none` for no event.
Each event befalls one life of the run; the last life is left alone. Prints a line for each run that finished, and ends
with an error if ranks hang, or if a signal cost steps. Lives are forked from one process that has imported everything.
"""

import faulthandler
import os
import random
import signal
import socket
import sys
import time
from pathlib import Path

import engine_toys
import torch
import torch._dynamo  # DDP and FSDP2 would import it in every life
import torch.onnx

from codistill.engine.distributed import start_process
from codistill.errors import DataError
from codistill.types import Batch

STEPS, WATCHDOG = 24, 120.0
EVENTS = ("kill", "kill-all", "term-term", "int-term", "term-one")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def rank_of_world(
    run: Path, strategy: str, rank: int, ranks: int, held_out: int, port: int, delay: float
) -> int:
    """One rank of one life, in this process; its exit code."""
    faulthandler.dump_traceback_later(WATCHDOG - 10, exit=True)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")
    with start_process("cpu") as process:

        def batches():
            broken = held_out == 5 and rank == 1  # the images of one rank cannot be read
            if broken:
                raise DataError("held-out images of rank 1 cannot be read")
            return engine_toys.held_out_batches(process, held_out, delay)

        def slower(step: int, batch: Batch) -> Batch:
            time.sleep(delay)
            return engine_toys.with_bad_image(step, batch)

        summary = engine_toys.run_toy(
            run,
            process=process,
            steps=STEPS,
            strategy=strategy,
            checkpoint_every=5,
            validate_every=4,
            change=slower,
            held_out=batches,
        )
    faulthandler.cancel_dump_traceback_later()
    return 0 if summary.finished else 75


def start(run: Path, strategy: str, ranks: int, held_out: int, delay: float) -> list[int]:
    """One life: the process ids of its ranks."""
    port, children = free_port(), []
    for rank in range(ranks):
        child = os.fork()
        if not child:
            log = os.open(run.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 2)
            code = 1
            try:
                code = rank_of_world(run, strategy, rank, ranks, held_out, port, delay)
            except BaseException as error:  # the parent must see an exit code
                os.write(2, f"rank {rank}: {type(error).__name__}: {error}\n".encode())
            finally:
                os._exit(code)
        children.append(child)
    return children


def wait_for(children: list[int], run: Path) -> list[int]:
    """Exit codes of the ranks; negative for signals."""
    deadline, codes = time.monotonic() + WATCHDOG, {}
    while len(codes) < len(children):
        for child in set(children) - set(codes):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                codes[child] = os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            for child in set(children) - set(codes):
                os.kill(child, signal.SIGKILL)
            raise SystemExit(f"{run} hung:\n{run.with_suffix('.log').read_text()[-6000:]}")
        time.sleep(0.01)
    return [codes[child] for child in children]


def steps_logged(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def newest(run: Path) -> int:
    return max((int(folder.name[-8:]) for folder in (run / "checkpoints").glob("step_*")), default=0)


def befall(event: str, children: list[int], run: Path, chance: random.Random) -> None:
    """Wait until the life has made steps, and a little longer, and let something happen to it."""
    before, began = steps_logged(run), time.monotonic()
    while steps_logged(run) <= before and time.monotonic() - began < 20.0:
        if all(os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) for child in children):
            return
        time.sleep(0.005)
    time.sleep(chance.uniform(0.0, 0.3))
    signals = {
        "kill": [signal.SIGKILL],
        "kill-all": [signal.SIGKILL],
        "term-term": [signal.SIGTERM, signal.SIGTERM],
        "int-term": [signal.SIGINT, signal.SIGTERM],
        "term-one": [signal.SIGTERM, signal.SIGTERM],
    }[event]
    chosen = children if event not in ("kill", "term-one") else [chance.choice(children)]
    for number in signals:
        for child in chance.sample(chosen, len(chosen)):
            os.kill(child, number)
        time.sleep(chance.choice((0.0, 0.002)))


def survive(
    run: Path, strategy: str, ranks: int, held_out: int, events: list[str], chance: random.Random
) -> None:
    """Lives with an event each, then one that is left alone."""
    run.parent.mkdir(parents=True, exist_ok=True)
    for event in events:
        children = start(run, strategy, ranks, held_out, delay=0.01)
        befall(event, children, run, chance)
        seen = steps_logged(run)
        codes = wait_for(children, run)
        if not event.startswith("kill") and newest(run) < seen:
            log = run.with_suffix(".log").read_text()[-3000:]
            raise SystemExit(f"{run}: {event} after {seen} steps left {newest(run)} of them, {codes}:\n{log}")
    codes = wait_for(start(run, strategy, ranks, held_out, delay=0.0), run)
    if any(codes):
        raise SystemExit(
            f"{run}: the last life ended with {codes}:\n{run.with_suffix('.log').read_text()[-3000:]}"
        )


def main() -> None:
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    chance, calm = random.Random(seed), set()
    for number, text in enumerate(sys.argv[3:]):
        strategy, ranks, held_out, given = text.split(",")
        drawn = [chance.choice(EVENTS) for _ in range(chance.randint(1, 4))]
        events = {"random": drawn, "none": []}.get(given, given.split("+"))
        straight = folder / f"calm-{strategy}-{ranks}-{held_out}"
        if straight not in calm and events:
            survive(straight, strategy, int(ranks), int(held_out), [], chance)
            calm.add(straight)
        run = folder / f"run{number}"
        survive(run, strategy, int(ranks), int(held_out), events, chance)
        print(run.name, straight.name if events else run.name, "+".join(events), flush=True)


if __name__ == "__main__":
    main()
