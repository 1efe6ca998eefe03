"""Open data with surface normals: from a layout's folder and a split to images with unit normals, and training views.

Everywhere in codistill a normal is given in the camera frame (x right, y down, z forward) and points towards the
camera; (0, 0, 0) is unknown. File formats: `imaging/normals.py`.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from codistill.files.json_files import read_json
from codistill.files.listing import list_files
from codistill.geometry.normals import normals_of_depth
from codistill.imaging import decode_vectors
from codistill.imaging.normals import Colours, colours_of
from codistill.tasks.dense.protocol import CropProtocol, DenseSplit, opened
from codistill.tasks.dense.views import Pair, SurfaceViews, resize_image
from codistill.tasks.dense.world import world_surfaces
from codistill.tasks.layout import Layout, Where
from codistill.tasks.shared.data import (
    DenseSample,
    FilePairs,
    check_count,
    folder_pairs,
    need_folder,
    pair_up,
)
from codistill.tasks.shared.groups import groups_of
from codistill.world.dataset import DepthSample, World

AXES_FILE = "normals.json"
"""File in a folder of your own that says in which direction high values of red, green and blue point."""

PROTOCOLS = {
    "nyuv2": CropProtocol(crop=(480, 480), steps=38_500),
    "folder": CropProtocol(crop=(480, 480)),
    "world": CropProtocol(crop=(224, 224), steps=2000),
}

NormalsData = DenseSplit[CropProtocol]
"""A split whose samples hold unit vectors (row, column, 3) fp32, 0 unknown."""


def _nyuv2(where: Where) -> NormalsData:
    """Open GeoNet's normals of NYUv2's labelled images, cropped to the middle 480 x 480.

    In the files, normals point away from the camera.
    """
    layout = (
        f"{where.split}/NNNNNN_{{img,normal}}.png (GeoNet's normals, as DSINE's dsine_eval/nyuv2 has them)"
    )
    folder = need_folder(where.root / where.split, layout)
    images = [path for path in list_files(folder, (".png",)) if path.stem.endswith("_img")]
    check_count(len(images), {"train": 795, "test": 654}[where.split], str(folder), where.partial)
    pairs = pair_up(images, lambda path: folder / path.name.replace("_img.", "_normal."), str(folder))
    groups = groups_of(where.root, where.split, [image.name for image in images])
    away = Colours((-1, -1, -1))
    samples = FilePairs(pairs, groups, away, (480, 640), decode=decode_vectors, middle=(480, 480))
    return opened(where, samples, PROTOCOLS["nyuv2"])


def _folder(where: Where) -> NormalsData:
    layout = f"images/{where.split}/*.jpg, normals/{where.split}/*.png (RGB of 8 or 16 bits, the same names)"
    pairs, groups = folder_pairs(where.root, where.split, "normals", layout)
    about = tuple(path for path in (where.root / AXES_FILE,) if path.is_file())
    colours = colours_of(read_json(about[0]), about[0]) if about else Colours()
    samples = FilePairs(pairs, groups, colours, about=about, decode=decode_vectors)
    return opened(where, samples, PROTOCOLS["folder"])


def _of_depth(sample: DepthSample) -> np.ndarray:
    return normals_of_depth(sample.depth, sample.intrinsics).numpy()


def _world(where: Where) -> NormalsData:
    world = World(where.root)
    protocol = replace(PROTOCOLS["world"], crop=(world.size, world.size))
    return opened(where, world_surfaces(world, where.split, _of_depth), protocol)


LAYOUTS = {
    "nyuv2": Layout(_nyuv2, "GeoNet's normals: SPLIT/NNNNNN_{img,normal}.png", ("train", "test")),
    "folder": Layout(_folder, "your own: images/SPLIT, normals/SPLIT (RGB PNG), normals.json"),
    "world": Layout(_world, "the embedded world, normals from its depth", ("train", "val", "test")),
}
"""Layouts by name, the word before the colon."""


@dataclass(frozen=True)
class NormalsViews(SurfaceViews):
    """Makes training views by a protocol, without rotation: normals would have to be rotated with the image."""

    protocol: CropProtocol

    def prepared(self, sample: DenseSample) -> Pair:
        """Resize the image; normals take the nearest pixel."""
        size = self.protocol.resized
        if size is None:
            return sample.image, sample.target
        nearest = cv2.resize(sample.target, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return resize_image(sample.image, size), nearest

    def mirrored(self, target: np.ndarray) -> np.ndarray:
        """Mirror the normals: the x component changes its sign."""
        return target[:, ::-1] * np.array((-1, 1, 1), dtype=np.float32)
