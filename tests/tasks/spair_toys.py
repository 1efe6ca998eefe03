"""A toy SPair-71k whose key-points are worked out by hand."""

import json
from pathlib import Path

from PIL import Image

SIZE = 100


def write_pair(
    root: Path, category: str, names: tuple[str, str], points: list[list[list[float]]], box: list[int]
) -> None:
    """Pictures of 100x80 pixels, and a file of their key-points."""
    for name in names:
        path = root / "JPEGImages" / category / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (SIZE, 80), (40, 90, 160)).save(path)
    folder = root / "PairAnnotation" / "test"
    folder.mkdir(parents=True, exist_ok=True)
    said = {
        "src_imname": f"{names[0]}.jpg",
        "trg_imname": f"{names[1]}.jpg",
        "src_kps": points[0],
        "trg_kps": points[1],
        "trg_bndbox": box,
        "category": category,
        "viewpoint_variation": len(names[0]) % 3,
    }
    (folder / f"{names[0]}-{names[1]}:{category}.json").write_text(json.dumps(said))


def spair_folder(root: Path) -> Path:
    """The map has 10x10 cells of one picture: a key-point at 50 of 100 is read at cell 4.5, between 4 and 5.

    A cell of number n is called n * 10 pixels. At 55.6 of 100 the cell is 5.0, called 50.
    """
    at = 500 / 9  # the cell 5
    write_pair(
        root, "cat", ("aa", "bb"), [[[at, at], [at, at]], [[50, 50], [56, 50]]], [10, 10, 60, 40]
    )  # 5 px: one of two
    write_pair(root, "cat", ("aa", "cc"), [[[at, at]] * 4, [[50, 50]] * 4], [0, 0, 50, 50])  # all four
    write_pair(
        root, "cow", ("dddd", "eeee"), [[[at, at]] * 2, [[57, 50], [50, 65]]], [0, 0, 20, 80]
    )  # 8 px: one of two
    return root
