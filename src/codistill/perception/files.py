"""Write a scene's answers to files: a sheet (PNG), arrays (npz), facts (JSON), and points and bodies (GLB)."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from codistill.errors import MissingExtraError
from codistill.files.json_files import write_json
from codistill.files.writing import atomically, remove_quietly
from codistill.imaging.pictures import save_picture
from codistill.perception.scene import Scene
from codistill.perception.sheet import sheet
from codistill.tasks.dense.depth.sight import DepthAnswer
from codistill.tasks.people.export import write_glb
from codistill.tasks.people.sight import PeopleAnswer
from codistill.tasks.two_view.reconstruct.files import write_scene
from codistill.tasks.two_view.sight import TwoViewAnswer


def write_image(
    scene: Scene, index: int, wanted: Sequence[str], stem: Path, *, title: str, glb: bool
) -> list[Path]:
    """Write the answers of heads on one image.

    Args:
        scene: the scene with the image.
        index: index of the image.
        wanted: names of heads that answer on single images.
        stem: path of the files, without a suffix.
        title: title of the sheet.
        glb: write points and bodies, if there are any.

    Returns:
        The files: STEM.png, STEM.json, STEM.npz, STEM.glb.

    Raises:
        WriteError: if a file cannot be written.
        MissingExtraError: for `glb` without trimesh.
    """
    scene.compute(wanted, images=(index,))
    drawn = sheet(scene, index, wanted, title)
    files = [_beside(stem, suffix) for suffix in (".png", ".json", ".npz")]
    save_picture(Image.fromarray(drawn), files[0])
    found = scene.as_json()
    write_json(files[1], {**found, "images": [found["images"][index]]})
    write_arrays(files[2], scene.arrays(index))
    if glb and any(isinstance(scene.answer(name, index), (DepthAnswer, PeopleAnswer)) for name in wanted):
        files.append(_beside(stem, ".glb"))
        _write_solid(scene, index, wanted, files[-1])
    else:
        remove_quietly(_beside(stem, ".glb"))  # else an earlier call's file would pass for a result
    return files


def check_glb() -> None:
    """Check that .glb files can be written.

    Raises:
        MissingExtraError: without trimesh.
    """
    if find_spec("trimesh") is None:
        raise MissingExtraError("trimesh", "people", "Writing GLB files (or leave them out: --no-glb)")


def write_together(scene: Scene, name: str, stem: Path, *, glb: bool) -> list[Path]:
    """Write the answer on all images together: STEM.png, STEM.json, STEM.npz, STEM.glb.

    Raises:
        WriteError, MissingExtraError: see `write_image`.
    """
    answer = scene.answer(name)
    files = [_beside(stem, suffix) for suffix in (".png", ".json", ".npz")]
    save_picture(Image.fromarray(answer.draw(scene.images[0])), files[0])
    write_json(files[1], {**scene.as_json(), "answer": dict(answer.facts())})
    write_arrays(files[2], answer.arrays())
    if glb and isinstance(answer, TwoViewAnswer):
        files.append(_beside(stem, ".glb"))
        write_scene(answer.scene, files[-1], {})
    else:
        remove_quietly(_beside(stem, ".glb"))
    return files


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a compressed npz file atomically: complete or not at all.

    Raises:
        WriteError: if it cannot be written.
    """
    with atomically(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **dict(arrays))  # type: ignore[arg-type]


def _beside(stem: Path, suffix: str) -> Path:
    return stem.parent / f"{stem.name}{suffix}"


def _write_solid(scene: Scene, index: int, wanted: Sequence[str], path: Path) -> None:
    """Write points of the first depth answer and the bodies of all people, in the camera's frame."""
    answers: list[Any] = [scene.answer(name, index) for name in wanted]
    depth = next((answer for answer in answers if isinstance(answer, DepthAnswer)), None)
    people = next((answer for answer in answers if isinstance(answer, PeopleAnswer)), None)
    points = None if depth is None else scene.cloud_of(depth, index, limit=200_000)
    vertices = np.zeros((0, 1, 3)) if people is None else people.found.vertices.numpy()
    faces = np.zeros((0, 3), int) if people is None else people.faces
    camera = scene.camera(index) if people is None else people.camera
    rows, columns = scene.images[index].shape[:2]
    write_glb(path, vertices, faces, camera, (rows, columns), points=points)
