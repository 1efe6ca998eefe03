"""Options of `codistill see FILE… --out DIR`."""

import argparse
import math

from codistill.commands.parsers.paths import named_path
from codistill.errors import ConfigError
from codistill.weights.shipped import shipped_perception

PARSER = argparse.ArgumentParser(
    prog="codistill see",
    description="Everything that an encoder's heads say of your images, from one pass of the encoder for each. Of an "
    "image: DIR/NAME.png (a sheet), .json, .npz (arrays), .glb (points and bodies, where there are some). Of a video: "
    "DIR/NAME.mp4 (annotated), .jsonl (a line for every frame).",
    epilog="A perception is a YAML file (docs/perception.md), or the name of one that ships; --head puts one together.",
)
add = PARSER.add_argument
add(
    "files",
    nargs="+",
    metavar="FILE",
    help="images, videos, folders (with all that is in them), or patterns such as 'photos/*.jpg'",
)
add("--out", type=named_path, required=True, metavar="DIR", help="folder of the results")
add(
    "--perception",
    metavar="NAME|YAML",
    help="encoder and heads (without --encoder and --head: the first that ships)",
)
add("--encoder", metavar="E", help="what load_encoder accepts (the one that the first head was fitted on)")
add(
    "--head",
    action="append",
    default=[],
    metavar="NAME=PATH",
    help="a folder of `codistill fit`; or a released file, or the name of a model that ships, whose task is NAME; "
    "repeatable",
)
add(
    "--other-encoder",
    action="store_true",
    help="let --encoder be another one than a head was fitted on (refused otherwise)",
)
add(
    "--want",
    action="append",
    default=[],
    metavar="NAME",
    help="only this head's answers; repeatable (all)",
)
add("--size", type=int, metavar="PX", help="longer side of what the encoder sees (as the heads were fitted)")
add(
    "--focal",
    type=float,
    metavar="PX",
    help="focal length of every image, pixels (its EXIF, else 60 degrees across)",
)
add("--together", action="store_true", help="take all images for views of one place: DIR/together.*")
add("--no-glb", action="store_true", help="write no .glb files, which need the extra `people`")
add("--every", type=int, metavar="N", help="of a video, every Nth frame (1)")
add("--max-frames", type=int, metavar="N", help="of a video, N frames at most (all)")
add("--json", action="store_true", help="one JSON object a line and file, on standard output")
add("--device", default="auto", choices=("auto", "cpu", "cuda"), help="(auto)")


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments, checked; argparse may end the process (--help, errors).

    Raises:
        ConfigError: for options that contradict each other.
    """
    arguments = PARSER.parse_args(argv)
    heads = dict(_named(text) for text in arguments.head)
    if len(heads) < len(arguments.head):
        raise ConfigError(f"two heads have one name: {', '.join(arguments.head)}")
    own = bool(heads or arguments.encoder)
    if own and arguments.perception is not None:
        raise ConfigError("--perception names encoder and heads: leave out --encoder and --head")
    arguments.unnamed = not own and arguments.perception is None
    if arguments.unnamed:
        arguments.perception = shipped_perception()
    if arguments.other_encoder and arguments.encoder is None:
        raise ConfigError("--other-encoder has no effect without --encoder")
    for name in ("size", "every", "max_frames"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be 1 or more; got {value}")
    if arguments.focal is not None and not 0 < arguments.focal < math.inf:
        raise ConfigError(f"--focal must be above 0 pixels; got {arguments.focal:g}")
    arguments.heads = heads
    return arguments


def _named(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals or not name or not path:
        raise ConfigError(f"--head {text}: expected NAME=PATH, such as depth=heads/depth")
    return name, path
