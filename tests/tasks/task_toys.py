"""Tiny data sets in the layouts of the real ones: coloured rectangles whose colour tells their class and depth."""

import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

COLOURS = np.array([[200, 60, 50], [60, 180, 70], [50, 80, 210]], dtype=np.uint8)
ENCODER = "random:vit_tiny,depth=2,dim=48,num_heads=2,image_size=56"


def toy_scene(seed: int, size: tuple[int, int] = (70, 84)) -> tuple[np.ndarray, np.ndarray]:
    """An image (row, column, 3) and its classes 0 to 2."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(size, dtype=np.uint8)
    for number in (1, 2):
        for _ in range(2):
            top, left = int(rng.integers(0, size[0] - 20)), int(rng.integers(0, size[1] - 20))
            labels[top : top + int(rng.integers(20, 40)), left : left + int(rng.integers(20, 40))] = number
    noise = rng.normal(0, 12, size=(*size, 3))
    return np.clip(COLOURS[labels] + noise, 0, 255).astype(np.uint8), labels


def write_png(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def segmentation_folder(root: Path, train: int = 24, val: int = 6, ignored: bool = True) -> Path:
    """The layout `folder`: classes.json, images/SPLIT/*.png, labels/SPLIT/*.png."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.json").write_text(json.dumps(["red", "green", "blue"]))
    for split, first, count in (("train", 0, train), ("val", 1000, val)):
        for index in range(first, first + count):
            image, labels = toy_scene(index)
            if ignored:
                labels[:4] = 255
            write_png(root / "images" / split / f"{index:04d}.png", image)
            write_png(root / "labels" / split / f"{index:04d}.png", labels)
    return root


DEPTHS = np.array([3.0, 1.0, 6.0])


def depth_lists(root: Path, train: int = 24, test: int = 6, size: tuple[int, int] = (480, 640)) -> Path:
    """The layout of NYUd: nyu_train.txt, nyu_test.txt, scene folders with rgb_*.jpg and sync_depth_*.png."""
    for split, first, count, scene in (("train", 0, train, "/den_0001a"), ("test", 1000, test, "den")):
        lines = []
        for index in range(first, first + count):
            image, labels = toy_scene(index, (size[0] // 10, size[1] // 10))
            image = np.kron(image, np.ones((10, 10, 1), dtype=np.uint8))
            depth = np.kron((DEPTHS[labels] * 1000).astype(np.uint16), np.ones((10, 10), dtype=np.uint16))
            depth[:12, :12] = 0
            folder = root / scene.strip("/")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"rgb_{index:05d}.jpg", quality=95)
            write_png(folder / f"sync_depth_{index:05d}.png", depth)
            lines.append(f"{scene}/rgb_{index:05d}.jpg {scene}/sync_depth_{index:05d}.png 518.8579")
        (root / f"nyu_{split}.txt").write_text("\n".join(lines) + "\n")
    return root


CLASSES = {"blue": (40, 60, 200), "red": (200, 60, 40), "green": (60, 180, 60)}


def class_folder(root: Path, train: int = 10, val: int = 4, classes: int = 2) -> Path:
    """Image folders, SPLIT/CLASS/*.png: classes told apart by colour, images of several sizes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for name, colour in list(CLASSES.items())[:classes]:
            for index in range(count):
                noise = rng.normal(0, 20, (60 + 4 * index, 90, 3))
                image = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
                write_png(root / split / name / f"{index}.png", image)
    return root


def depth_folder(root: Path, train: int = 10, val: int = 3) -> Path:
    """The layout `folder`: images/SPLIT/*.png, depth/SPLIT/*.png in millimetres."""
    for split, first, count in (("train", 0, train), ("val", 1000, val)):
        for index in range(first, first + count):
            image, labels = toy_scene(index)
            write_png(root / "images" / split / f"{index:04d}.png", image)
            write_png(root / "depth" / split / f"{index:04d}.png", (DEPTHS[labels] * 1000).astype(np.uint16))
    return root


NORMALS = np.array([[0.0, -0.8, -0.6], [0.8, 0.0, -0.6], [-0.6, 0.0, -0.8]])
"""Of the classes: a floor, what looks to the right, what looks to the left."""


def normals_folder(root: Path, train: int = 24, val: int = 6) -> Path:
    """The layout `folder`: images/SPLIT/*.png, normals/SPLIT/*.png of 16 bits; the first rows are unknown."""
    for split, first, count in (("train", 0, train), ("val", 500, val)):
        for index in range(first, first + count):
            image, labels = toy_scene(index)
            values = np.rint((NORMALS[labels] + 1) / 2 * 65535).astype(np.uint16)
            values[:3] = 0
            write_png(root / "images" / split / f"{index}.png", image)
            path = root / "normals" / split / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), values[..., ::-1])
    return root


def photo_folder(root: Path, train: int = 6, val: int = 3) -> Path:
    """SPLIT/*.png: pictures without truth."""
    for split, first, count in (("train", 0, train), ("val", 1000, val)):
        for index in range(first, first + count):
            write_png(root / split / f"{index:04d}.png", toy_scene(index)[0])
    return root
