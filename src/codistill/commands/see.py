"""`codistill see FILE… --out DIR`: every head's answer on your own images and videos."""

import argparse
import json
import logging
from collections.abc import Sequence

from codistill.commands.parsers.see import parse
from codistill.commands.predicting import (
    check_results,
    exit_code,
    find_images,
    say_passed_over,
    say_repeated,
    say_shipped,
)
from codistill.commands.see_video import see_video
from codistill.errors import ConfigError, DataError
from codistill.files.listing import IMAGE_SUFFIXES
from codistill.perception.config import HeadConfig
from codistill.perception.files import check_glb, write_image, write_together
from codistill.perception.perception import Perception
from codistill.perception.pretrained import find_perception
from codistill.perception.video import VIDEO_SUFFIXES, is_video
from codistill.tasks.task import ImageFile


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    files = find_images(arguments.files, (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))
    videos = [file for file in files if is_video(file.path)]
    images = [file for file in files if not is_video(file.path)]
    _check(arguments, images, videos)
    results = [video.within(arguments.out, ".mp4") for video in videos]
    results += [] if arguments.together else [image.within(arguments.out, ".png") for image in images]
    check_results(files, results)
    if arguments.unnamed:
        say_shipped(arguments.perception, "--perception or --head")
    perception = _opened(arguments)
    wanted = _wanted(perception, arguments.want, arguments.together)
    if arguments.focal is not None and not any(perception.is_solid(name) for name in wanted):
        raise ConfigError(
            f"--focal would have no effect: none of {', '.join(wanted) or 'no heads'} answers in space, as depth, "
            "people and two views do"
        )
    single = [name for name in wanted if not perception.together(name)]
    glb = not arguments.no_glb
    if glb and images and any(perception.is_solid(name) for name in wanted):
        check_glb()
    failed = 0
    if arguments.together:
        _see_together(perception, images, wanted, arguments)
    else:
        failed += sum(not _see_image(perception, image, single, arguments) for image in images)
    failed += sum(not see_video(perception, video, single, arguments) for video in videos)
    return exit_code(failed, len(files))


def _check(arguments: argparse.Namespace, images: Sequence[ImageFile], videos: Sequence[ImageFile]) -> None:
    if not videos and (arguments.every is not None or arguments.max_frames is not None):
        raise ConfigError("--every and --max-frames are for videos, and no file is one: leave them out")
    if arguments.together and (videos or len(images) < 2):
        raise ConfigError("--together takes two or more images, and no video")


def _opened(arguments: argparse.Namespace) -> Perception:
    options = {"device": arguments.device} | ({} if arguments.size is None else {"size": arguments.size})
    if arguments.perception is not None:
        return Perception.from_config(find_perception(arguments.perception), **options)
    heads = {
        name: HeadConfig(path=path, other_encoder=arguments.other_encoder)
        for name, path in arguments.heads.items()
    }
    return Perception(arguments.encoder, heads, **options)


def _wanted(perception: Perception, named: Sequence[str], together: bool) -> list[str]:
    """The requested heads; all if none is named.

    Raises:
        ConfigError: if there is no such head, or if it needs `--together` or does not support it.
    """
    wanted = list(dict.fromkeys(perception.known(name) for name in named))
    for name in wanted:
        if perception.together(name) and not together:
            raise ConfigError(f"--want {name}: it sees several images of one place; add --together")
        if together and not perception.together(name):
            raise ConfigError(f"--want {name}: it answers for single images; leave out --together")
    return wanted or list(perception.heads)


def _see_image(
    perception: Perception, image: ImageFile, wanted: Sequence[str], arguments: argparse.Namespace
) -> bool:
    """Write the answers on an image; returns False and prints the reason if it cannot be used."""
    try:
        scene = perception(image.path, want=wanted, focal=arguments.focal)
    except DataError as error:
        _say_unusable(image, error, arguments.json)
        return False
    title = f"{image.path.name}: one pass of {perception.named_shortly} at {perception.size} pixels"
    files = write_image(
        scene, 0, wanted, image.within(arguments.out, ""), title=title, glb=not arguments.no_glb
    )
    if arguments.json:
        facts = scene.as_json()["images"][0]["answers"]
        shown = {"image": str(image.path), "files": [str(file) for file in files], "answers": facts}
        print(json.dumps({**shown, "seconds": scene.seconds}, allow_nan=False))
        return True
    said = "; ".join(f"{name}: {scene.answer(name).text()}" for name in wanted)
    print(f"{files[0]}: {said or 'features'}", flush=True)
    return True


def _see_together(
    perception: Perception, images: Sequence[ImageFile], wanted: Sequence[str], arguments: argparse.Namespace
) -> None:
    """Write the joint answers of heads that see several images together; all images must be usable.

    Raises:
        ConfigError: if no head sees images together.
    """
    names = [name for name in wanted if perception.together(name)]
    if not names:
        raise ConfigError(
            f"--together needs a head that sees several images, such as one of `codistill fit two-view`; wanted are: "
            f"{', '.join(wanted) or '(none)'}"
        )
    stems = {n: arguments.out / ("together" if len(names) == 1 else f"together_{n}") for n in names}
    check_results(images, [stem.with_name(f"{stem.name}.png") for stem in stems.values()])
    scene = perception([image.path for image in images], focal=arguments.focal)
    say_repeated([image.path for image in images], scene.images)
    for name, stem in stems.items():
        files = write_together(scene, name, stem, glb=not arguments.no_glb)
        if arguments.json:
            shown = {"images": [str(image.path) for image in images], "files": [str(file) for file in files]}
            facts = dict(scene.answer(name).facts())
            print(json.dumps({**shown, "answers": {name: facts}, "seconds": scene.seconds}, allow_nan=False))
        else:
            print(f"{files[0]}: {name}: {scene.answer(name).text()}", flush=True)


def _say_unusable(file: ImageFile, error: Exception, as_json: bool) -> None:
    say_passed_over(file.path, str(error))
    if as_json:
        print(json.dumps({"image": str(file.path), "error": str(error)}))
