"""Classes of whole images from shared tokens; see `tasks/shared/seen.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from codistill.tasks.classification.model import ImageClassifier, class_shares
from codistill.tasks.shared.seen import Answer, Seen

NAMED = 5
"""Number of classes in an answer."""


@dataclass(frozen=True, repr=False)
class LabelsAnswer(Answer):
    """The most probable classes of an image.

    Attributes:
        best: names of the classes with their shares, largest first: probabilities, or shares of the votes.
    """

    best: Mapping[str, float]

    def draw(self, pixels: np.ndarray, like: Answer | None = None) -> np.ndarray:
        """The image, with the classes' names on bars as long as their shares."""
        canvas = Image.fromarray(pixels)
        draw = ImageDraw.Draw(canvas, "RGBA")
        height, width = pixels.shape[:2]
        line = max(12, min(height // (NAMED + 3), width // 14))
        font = ImageFont.load_default(size=max(9, int(line * 0.7)))
        for row, (name, share) in enumerate(self.best.items()):
            top = height - line * (len(self.best) - row)
            draw.rectangle((0, top, width, top + line - 1), fill=(0, 0, 0, 120))
            draw.rectangle((0, top, max(1, int(width * share)), top + line - 1), fill=(40, 120, 200, 200))
            text = f"{share:.0%} {name}"
            while len(text) > 2 and draw.textlength(text, font=font) > width - 10:
                text = text.removesuffix("…")[:-1] + "…"
            draw.text((5, top + line / 2), text, fill=(255, 255, 255, 255), font=font, anchor="lm")
        return np.asarray(canvas)

    def text(self) -> str:
        return ", ".join(f"{name} {share:.0%}" for name, share in list(self.best.items())[:3])

    def facts(self) -> Mapping[str, Any]:
        return {"labels": {name: round(share, 6) for name, share in self.best.items()}}

    def arrays(self) -> Mapping[str, np.ndarray]:
        return {}


def answer(model: ImageClassifier, images: Sequence[Seen]) -> list[LabelsAnswer]:
    """One answer per image; for nearest neighbours, from the votes of the smallest number of neighbours."""
    made = []
    for seen in images:
        scores = model.scores(model.vectors.vectors(seen.levels).cpu())
        variant = next(iter(scores))
        made.append(LabelsAnswer(class_shares(scores[variant][0], variant, model.classes, NAMED)))
    return made
