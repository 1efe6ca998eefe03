"""Small pictures for the tests of this folder."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int = 0, rows: int = 60, columns: int = 80) -> np.ndarray:
    """A smooth colour picture with some detail, (row, column, 3) uint8."""
    rng = np.random.default_rng(seed)
    layers = np.zeros((rows, columns, 3))
    for cells in (3, 9, 27):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        layers += np.asarray(coarse.resize((columns, rows), Image.Resampling.BICUBIC)) / cells
    return np.clip(layers / layers.max() * 255, 0, 255).astype(np.uint8)


def encoded(image: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    """The picture as a file's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def write_pictures(folder: Path, names: list[str]) -> None:
    """One picture per relative path, each another."""
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = "PNG" if name.lower().endswith("png") else "JPEG"
        path.write_bytes(encoded(picture(seed), kind))


def write_tar(path: Path, members: list[tuple[str, bytes]], kind: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of another maker; its bytes."""
    with tarfile.open(path, "w", format=kind) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path.read_bytes()
