"""Process a video for `codistill see`: an annotated MP4, and one JSON line for every frame."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from codistill.commands.predicting import say_passed_over
from codistill.commands.progress_bar import SampleProgress
from codistill.errors import DataError, WriteError
from codistill.files.writing import atomically
from codistill.perception.mosaic import mosaic
from codistill.perception.perception import Perception
from codistill.perception.scene import FEATURES, IMAGE, Scene
from codistill.perception.video import Frame, VideoReader, VideoWriter
from codistill.tasks.shared.seen import Answer
from codistill.tasks.task import ImageFile

MOST_OF_IT = 0.9
"""Share of the announced frames below which a note says so; some files announce only about how many they hold."""


def see_video(
    perception: Perception, video: ImageFile, wanted: Sequence[str], arguments: argparse.Namespace
) -> bool:
    """Write the answers on a video; returns False and prints the reason if it cannot be used.

    Raises:
        WriteError: if a file cannot be written.
        MissingExtraError: without PyAV.
    """
    shown, told = video.within(arguments.out, ".mp4"), video.within(arguments.out, ".jsonl")
    try:
        count, seconds = _annotated(perception, video.path, wanted, arguments, shown, told)
    except WriteError:
        raise
    except DataError as error:
        say_passed_over(video.path, str(error))
        if arguments.json:
            print(json.dumps({"video": str(video.path), "error": str(error)}))
        return False
    if arguments.json:
        about = {"video": str(video.path), "files": [str(shown), str(told)], "frames": count}
        print(json.dumps({**about, "seconds": seconds}))
    else:
        whole = sum(seconds.values())
        print(f"{shown}: {count} frames, {count / max(whole, 1e-9):.1f} a second", flush=True)
    return True


def _annotated(
    perception: Perception,
    path: Path,
    wanted: Sequence[str],
    arguments: argparse.Namespace,
    shown: Path,
    told: Path,
) -> tuple[int, dict[str, float]]:
    """Write the frames; returns their number and the total seconds by stage. Colour ranges are the first frame's."""
    first: Scene | None = None
    seconds: dict[str, float] = {}
    count = 0
    with (
        VideoReader(path, every=arguments.every or 1, most=arguments.max_frames) as frames,
        VideoWriter(shown, frames.rate) as writer,
        atomically(told) as partial,
        partial.open("w", encoding="utf-8") as lines,
        SampleProgress(f"seeing {path.name}") as progress,
    ):
        for frame in frames:
            scene = perception(
                frame.pixels,
                want=wanted,
                focal=arguments.focal,
                basis=None if first is None else first.basis,
            )
            first = first or scene
            likes = {name: first.answer(name) for name in wanted}
            writer.add(_picture(scene, wanted, likes))
            lines.write(json.dumps(_line(frame, scene), allow_nan=False) + "\n")
            for stage, value in scene.seconds.items():
                seconds[stage] = seconds.get(stage, 0.0) + value
            count += 1
            progress(count, max(count, frames.total or count))
    if count < MOST_OF_IT * (frames.total or 0):
        print(
            f"{path}: held {count} frames, though it announces some {frames.total}: it may be cut off or damaged",
            file=sys.stderr,
        )
    return count, {stage: round(value, 6) for stage, value in seconds.items()}


def _picture(scene: Scene, wanted: Sequence[str], likes: Mapping[str, Answer]) -> np.ndarray:
    pictures = {name: scene.draw(name) for name in (IMAGE, FEATURES)}
    pictures |= {name: scene.draw(name, like=likes[name]) for name in wanted}
    return mosaic(pictures)


def _line(frame: Frame, scene: Scene) -> dict[str, object]:
    found = scene.as_json()
    return {
        "frame": frame.number,
        "time": round(frame.seconds, 6),
        "answers": found["images"][0]["answers"],
        "seconds": found["seconds"],
    }
