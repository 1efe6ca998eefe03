"""`codistill fit TASK [RECIPE] --encoder E --data LAYOUT:FOLDER --out HEAD`: fits a head on an encoder; resumable."""

from codistill.commands.parsers.fit import parse
from codistill.commands.task_config import make_runtime, resolve_fit
from codistill.engine.distributed import start_process
from codistill.errors import StoppedError
from codistill.files.config import dump_yaml
from codistill.tasks.opening import fit_task
from codistill.tasks.registry import find_task


def main(argv: list[str]) -> int:
    asked = parse(argv)
    task = find_task(asked.task.name)
    config = resolve_fit(task, asked, asked.own.data)
    if asked.own.print_config:
        print(dump_yaml(config), end="")
        return 0
    with start_process(asked.own.device) as process:
        runtime = make_runtime(asked.own, asked.own.out, ["fit", *argv], process)
        if not fit_task(task, config, runtime, process):
            raise StoppedError("stopped before its end: the same command resumes")
        if process.is_main:
            print(asked.own.out)
    return 0
