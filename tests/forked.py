"""Python programs in processes that are forked from one which has imported PyTorch: seconds less for each.

`start` does what `subprocess.Popen([sys.executable, …])` would; as a program, this file is the process that forks.
"""

import atexit
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn


class Forked:
    """A program that runs; its output goes to files."""

    def __init__(self, pid: int, out: Path, err: Path) -> None:
        self.pid = pid
        self.out = out
        self.err = err
        self.code: int | None = None

    def poll(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        if self.code is None:
            self.code = _ask({"poll": self.pid})["code"]
        return self.code

    def wait(self, timeout: float = 300.0) -> int:
        """Exit code, once it has ended."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"still running after {timeout:.0f} s:\n{self.err.read_text()[-4000:]}")
            time.sleep(0.01)
        return code

    def kill(self, sign: int = 9) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, sign)


def start(
    arguments: Sequence[object], environment: Mapping[str, str] | None = None, first: Sequence[str] = ()
) -> Forked:
    """Run `python ARGUMENTS`.

    Args:
        arguments: `FILE.py …`, `-m MODULE …` or `-c CODE …`.
        environment: variables beside those of this process.
        first: modules that are imported before it forks, as they are needed by many programs.
    """
    folder = Path(tempfile.mkdtemp(dir=_outputs().name))
    out, err = folder / "out", folder / "err"
    for path in (out, err):
        path.touch()  # so that they can be read at once
    about = {"arguments": [*map(str, arguments)], "out": str(out), "err": str(err), "first": [*first]}
    about |= {"environment": {**os.environ, **(environment or {})}, "folder": str(Path.cwd())}
    return Forked(_ask(about)["pid"], out, err)


def run(arguments: Sequence[object], timeout: float = 300.0, **options: Any) -> tuple[int, str, str]:
    """Run `python ARGUMENTS` to its end: code, output and errors."""
    program = start(arguments, **options)
    return program.wait(timeout), program.out.read_text(), program.err.read_text()


@cache
def _outputs() -> tempfile.TemporaryDirectory[str]:
    """A folder that is gone after the tests."""
    return tempfile.TemporaryDirectory(prefix="forked-")


@cache
def _server() -> subprocess.Popen[str]:
    command = [sys.executable, __file__]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.kill)
    return server


def _ask(about: Mapping[str, object]) -> dict[str, Any]:
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    print(json.dumps(about), file=server.stdin, flush=True)
    return json.loads(server.stdout.readline())


def _child(about: Mapping[str, Any]) -> NoReturn:
    code = 1
    try:
        for path, number in ((os.devnull, 0), (about["out"], 1), (about["err"], 2)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
        os.environ.clear()
        os.environ.update(about["environment"])
        os.chdir(about["folder"])
        kind, *rest = about["arguments"]
        if kind == "-m":
            sys.argv = [*rest]
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif kind == "-c":
            sys.argv = ["-c", *rest[1:]]
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = [kind, *rest]
            sys.path.insert(0, str(Path(kind).parent))
            runpy.run_path(kind, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve() -> None:
    import torch

    torch.set_num_threads(1)
    import codistill.engine.loop  # noqa: F401

    codes: dict[int, int] = {}
    for line in sys.stdin:
        about = json.loads(line)
        if "poll" in about:
            pid = about["poll"]
            if pid not in codes:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    codes[pid] = os.waitstatus_to_exitcode(status)
            print(json.dumps({"code": codes.get(pid)}), flush=True)
            continue
        for module in about["first"]:
            __import__(module)
        pid = os.fork()
        if not pid:
            _child(about)
        print(json.dumps({"pid": pid}), flush=True)


if __name__ == "__main__":
    _serve()
