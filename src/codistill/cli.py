"""The command line: a literal table that maps each command to the function that runs it.

Each function takes the remaining arguments and returns an exit code. Nothing heavy is imported here. An error of
codistill is printed as one line; any other exception is a bug and shows its traceback.
"""

import os
import sys

from codistill.commands.dispatch import call, refuse_several, run
from codistill.errors import CodistillError, StoppedError, unknown_name

COMMANDS: dict[str, tuple[str, str]] = {
    "index": (
        "codistill.commands.index:main",
        "list an image source into a manifest, or pack it into shards",
    ),
    "distill": ("codistill.commands.distill:main", "train a student; the same command again resumes"),
    "shrink": (
        "codistill.commands.shrink:main",
        "a narrower encoder from a trained one: where a student can start",
    ),
    "plan": (
        "codistill.commands.plan:main",
        "operations, hours, loader cores and cost of a recipe on N GPUs",
    ),
    "fit": (
        "codistill.commands.fit:main",
        "fit a head on an encoder; `codistill fit --list` names the tasks",
    ),
    "evaluate": ("codistill.commands.evaluate:main", "score an encoder or a head on a task, with intervals"),
    "text": (
        "codistill.commands.text:main",
        "embeddings of class names or captions by a text tower, for zero-shot evaluations",
    ),
    "study": (
        "codistill.commands.study:main",
        "rows x seeds x evaluations: run or resume all of them, tables with intervals",
    ),
    "extract": ("codistill.commands.extract:main", "dense features of any image source, in bulk"),
    "pca": ("codistill.commands.pca:main", "look at features: patch tokens as colours"),
    "predict": (
        "codistill.commands.predict:main",
        "a fitted head on images of your own; segment, depth, people and normals are short for it",
    ),
    "serve": (
        "codistill.commands.serve:main",
        "the live page: one encoder pass, every head's answer; REST beside it",
    ),
    "see": (
        "codistill.commands.see:main",
        "every head's answer on images and videos, from one pass of the encoder",
    ),
    "reconstruct": (
        "codistill.commands.reconstruct:main",
        "cameras and a coloured point cloud from two or more pictures",
    ),
    "analyze": (
        "codistill.commands.analyze:main",
        "explained variance, correlation of losses: the paper's figures",
    ),
    "report": (
        "codistill.commands.report:main",
        "one self-contained HTML page about a run, or about fitted heads",
    ),
    "inspect": (
        "codistill.commands.inspect:main",
        "what is in this checkpoint, run, export, manifest or shard",
    ),
    "bundle": ("codistill.commands.bundle:main", "a model to give away: encoder, heads and card"),
    "convert": ("codistill.commands.convert:main", "any known layout to encoder.safetensors + config.json"),
    "export": (
        "codistill.commands.export:main",
        "an encoder or a head as ONNX or a PyTorch program, checked",
    ),
    "verify": (
        "codistill.commands.verify:main",
        "numerical compatibility with the published implementations",
    ),
    "bench": (
        "codistill.commands.bench:main",
        "speed of the step, the loader, a store, an encoder, heads, the world",
    ),
    "world": ("codistill.commands.world:main", "build or show the embedded world"),
    "demo": ("codistill.commands.demo:main", "all of it, small, end to end, on this machine"),
    "completion": ("codistill.commands.completion:main", "a script that completes commands in a shell"),
}

OF_PARTS = ("bench",)
"""Commands made of subcommands that each have their own parser."""

SHARED = ("distill", "fit", "evaluate", "extract")
"""Commands whose work torchrun's processes share."""

SHORT = {"segment": "segmentation", "depth": "depth", "people": "people", "normals": "normals"}
"""Commands that are short for `predict TASK`."""


def help_text() -> str:
    """The text of `codistill --help`."""
    width = max(len(name) for name in COMMANDS)
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: codistill COMMAND [arguments]",
            "",
            "Distil one vision encoder from several unlike teachers, load the published ones, and use it.",
            "",
            "commands:",
            *lines,
            "",
            "codistill COMMAND --help says more. codistill --version prints the version.",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 2 for a user's error, 75 for a run that was asked to stop."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from codistill.version import __version__

        print(f"codistill {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS and name not in SHORT:
        print(f"codistill: {unknown_name('command', name, [*COMMANDS, *SHORT])}", file=sys.stderr)
        return 2
    if name in SHORT:
        target, rest = COMMANDS["predict"][0], [SHORT[name], *rest]
    else:
        target = COMMANDS[name][0]
    try:
        if name not in SHARED:
            refuse_several(name)
        return call(target, rest) if name in OF_PARTS else run(target, rest)
    except StoppedError as error:
        if os.environ.get("RANK", "0") == "0":  # all ranks stop together; only rank 0 prints it
            print(f"codistill {name}: {error}", file=sys.stderr)
        return error.exit_code
    except CodistillError as error:
        print(f"codistill {name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"codistill {name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
