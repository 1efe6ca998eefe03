"""Draw a scene as one picture: the image, its features and every answer side by side, with legends and times."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from codistill.imaging.colours import number_colours
from codistill.imaging.pictures import below
from codistill.perception.aside import points_from_aside
from codistill.perception.scene import FEATURES, IMAGE, Scene
from codistill.tasks.dense.depth.sight import DepthAnswer
from codistill.tasks.shared.seen import Answer

GAP, EDGE = 12, 18
_INK, _PALE = (25, 25, 28), (110, 110, 116)
_TITLE, _NOTE = ImageFont.load_default(size=17), ImageFont.load_default(size=13)


@dataclass(frozen=True)
class Tile:
    """A picture (row, column, 3) with a title, a note beside it, and, if there is an answer, the answer's legend."""

    title: str
    picture: np.ndarray
    note: str = ""
    answer: Answer | None = None


def sheet(scene: Scene, index: int, wanted: Sequence[str], title: str) -> np.ndarray:
    """Draw an image with its answers, (row, column, 3) uint8.

    Args:
        scene: the scene with the image.
        index: index of the image.
        wanted: names of the heads.
        title: title of the sheet.
    """
    tiles = [Tile(name, scene.draw(name, index)) for name in (IMAGE, FEATURES)]
    tiles[1] = Tile(FEATURES, tiles[1].picture, "three principal components of the tokens")
    for name in wanted:
        answer = scene.answer(name, index)
        tiles.append(Tile(name, scene.draw(name, index), answer.text(), answer))
        if isinstance(answer, DepthAnswer):
            tiles.append(Tile("points", points_from_aside(scene, index, answer), "from aside, by depth"))
    return put_together(tiles, title, scene.seconds)


def put_together(tiles: Sequence[Tile], title: str, seconds: dict[str, float]) -> np.ndarray:
    """Arrange tiles in rows, with a title above and a bar of times below."""
    rows, columns = tiles[0].picture.shape[:2]
    across = min(len(tiles), 3 if columns >= rows else 4)
    if len(tiles) == 4 and columns >= rows:
        across = 2
    width = 460 if columns >= rows else 330
    height = min(round(width * rows / columns), 560)
    cells = [_cell(tile, width, height) for tile in tiles]
    lines = []
    for start in range(0, len(cells), across):
        line = cells[start : start + across]
        tall = max(cell.shape[0] for cell in line)
        padded = [_padded(cell, tall, width) for cell in line]
        padded += [np.full((tall, width, 3), 255, np.uint8)] * (across - len(padded))
        spaced = [part for cell in padded for part in (cell, np.full((tall, GAP, 3), 255, np.uint8))][:-1]
        lines.append(np.concatenate(spaced, axis=1))
    body = below(*lines, gap=GAP)
    made = below(_head(title, body.shape[1]), body, times_bar(seconds, body.shape[1]), gap=GAP)
    return np.pad(made, ((EDGE, EDGE), (EDGE, EDGE), (0, 0)), constant_values=255)


def _cell(tile: Tile, width: int, height: int) -> np.ndarray:
    """Draw a tile: title and note above the picture, the legend below."""
    canvas = Image.new("RGB", (width, 26), (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    draw.text((0, 2), tile.title, fill=_INK, font=_TITLE)
    left = draw.textlength(tile.title, font=_TITLE) + 10
    draw.text((left, 6), _fitting(tile.note, width - left), fill=_PALE, font=_NOTE)
    parts = [np.asarray(canvas), fitted(tile.picture, width, height)]
    legend = None if tile.answer is None else tile.answer.legend(width)
    return np.concatenate(parts if legend is None else [*parts, legend])


def fitted(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize a picture to fit into (height, width), in the middle of a white cell of that size."""
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(np.ascontiguousarray(picture), size, interpolation=method)
    canvas = np.full((height, width, 3), 255, np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = small
    return canvas


def _padded(cell: np.ndarray, height: int, width: int) -> np.ndarray:
    more = ((0, height - cell.shape[0]), (0, width - cell.shape[1]), (0, 0))
    return np.pad(cell, more, constant_values=255)


def _fitting(text: str, width: float) -> str:
    while len(text) > 1 and _NOTE.getlength(text) > width:
        text = text.removesuffix("…")[:-1] + "…"
    return text


def _head(title: str, width: int) -> np.ndarray:
    canvas = Image.new("RGB", (width, 22), (255, 255, 255))
    ImageDraw.Draw(canvas).text((0, 2), _fitting(title, width), fill=_PALE, font=_NOTE)
    return np.asarray(canvas)


def times_bar(seconds: dict[str, float], width: int) -> np.ndarray:
    """Bar of the stages, each as long as its share of the time, with milliseconds below: (row, width, 3) uint8."""
    stages = {name: value for name, value in seconds.items() if name != "draw"}
    total = sum(stages.values()) or 1.0
    colours = number_colours(len(stages))
    canvas = Image.new("RGB", (width, 14 + 20 * 6), (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    left = 0.0
    for colour, value in zip(colours.tolist(), stages.values(), strict=True):
        right = left + width * value / total
        draw.rectangle((left, 0, max(left, right - 1), 11), fill=tuple(colour))
        left = right
    x, y = 0.0, 18
    for colour, (name, value) in zip(colours.tolist(), stages.items(), strict=True):
        text = f"{name} {1000 * value:.0f} ms" if value >= 0.001 else f"{name} < 1 ms"
        length = draw.textlength(text, font=_NOTE) + 34
        if x + length > width and x:
            x, y = 0.0, y + 20
        draw.rectangle((x, y + 2, x + 11, y + 13), fill=tuple(colour))
        draw.text((x + 16, y), text, fill=_PALE, font=_NOTE)
        x += length
    return np.asarray(canvas)[: y + 18]
