"""HTML of a `Scene` for notebooks: each image with its features and answers, joint answers on all images, times."""

import html
from typing import TYPE_CHECKING

import numpy as np

from codistill.analysis.display import Legend, no_legend, picture_row

if TYPE_CHECKING:
    from codistill.perception.scene import Scene

SHOWN = 4
"""Largest number of images drawn, one row each."""
TOGETHER_HEIGHT = 320
"""Height of the picture of a joint answer, in pixels of the screen."""


def scene_html(scene: "Scene") -> str:
    """One row of pictures per image; missing answers are computed for the images that are drawn."""
    several = {name for name in scene.wants() if scene.sees_together(name)}
    rows = []
    for index in range(min(len(scene), SHOWN)):
        pictures: list[tuple[np.ndarray, str, Legend]] = [
            (scene.images[index], scene.names[index], no_legend),
            (scene.draw("features", index), "features", no_legend),
        ]
        for name in scene.wants():
            if name not in several:
                answer = scene.answer(name, index)
                pictures.append((scene.draw(name, index), f"{name}: {answer.text()}", answer.legend))
        rows.append(picture_row(pictures))
    for name in sorted(several):
        together = (scene.draw(name), f"{name}: {scene.answer(name).text()}", scene.answer(name).legend)
        rows.append(picture_row([together], TOGETHER_HEIGHT))
    times = " · ".join(f"{stage} {1000 * value:.0f} ms" for stage, value in scene.seconds.items())
    more = "" if len(scene) <= SHOWN else f" · the first {SHOWN} of {len(scene)} images"
    return f"{''.join(rows)}<code>{html.escape(times)}</code>{more}"
