"""Encode pictures and compute what each contributes to the scores: share of long tokens, parts of the fixed pattern.

The length from which on a token is long, and the pattern that all pictures have in common, depend on all pictures. So
the tokens of all pictures are held in memory before the first picture gets its numbers.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codistill.encoders.states import both_norms
from codistill.errors import ConfigError, DataError, check_least
from codistill.files.disk import size_text
from codistill.imaging import resize_rgb
from codistill.imaging.normalize import normalized
from codistill.metrics.fixed_pattern import pattern_parts
from codistill.metrics.token_lengths import long_from
from codistill.tasks.encoder_alone import DenseFeatures, load_features
from codistill.tasks.layout import TaskData
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.groups import named_groups
from codistill.tasks.shared.pictures import in_batches, prepared_batches
from codistill.tasks.shared.progress import Lines
from codistill.tasks.task import Outcome, Subject

STATES = {False: "", True: "_normed"}
"""Suffixes of the names of scores: tokens before the final norm (False) and after it (True)."""

MOST = 1 << 32
"""Largest size in bytes of the tokens held in memory."""


@dataclass(frozen=True, kw_only=True)
class ArtefactsTest:
    """How pictures are encoded.

    Attributes:
        size: side in pixels of the square to which pictures are stretched, rounded to whole patches (they are not
            padded: borders of zeros would be a pattern).
        batch_size: pictures per batch.
    """

    size: int = 224
    batch_size: int = 16

    def __post_init__(self) -> None:
        check_least(self, "size", "batch_size")

    def side(self, patch: int) -> int:
        """The side rounded to a multiple of the patch size."""
        return max(1, round(self.size / patch)) * patch


class BothStates(DenseFeatures):
    """An encoder whose tokens are measured both before and after its final norm."""

    def describe(self) -> dict[str, Any]:
        told = self.features.describe()
        return {"encoder": {name: value for name, value in told.items() if name != "norm"}}


def load(subject: Subject, test: ArtefactsTest, data: TaskData | None) -> BothStates:
    """Load the encoder that a subject names; see `load_features`."""
    return BothStates(load_features(subject, test, data).features)


def score(model: DenseFeatures, data: TaskData, test: ArtefactsTest, runtime: Runtime) -> Iterator[Outcome]:
    """Yield one outcome per picture, with NaN for tokens before the norm if the encoder does not give them.

    `long` is the share of a picture's tokens that are long, in per cent. `pattern` holds the numerator and the
    denominator of the share of variance that the position explains (`metrics/fixed_pattern.py`). `longest` is the
    length of the picture's longest token, `long_from` the length from which on a token is long, the same for all
    pictures.

    Raises:
        ConfigError: if the tokens of all pictures need too much memory.
        DataError: if a picture cannot be used, or its tokens are not finite.
    """
    found = {norm: _values(tokens, data) for norm, tokens in _tokens(model, data, test, runtime).items()}
    known = found[True]
    for norm in STATES:
        found.setdefault(norm, {name: np.full_like(values, np.nan) for name, values in known.items()})
    for index in range(len(data.samples)):
        values = {
            f"{name}{end}": of_all[index]
            for norm, end in STATES.items()
            for name, of_all in found[norm].items()
        }
        yield Outcome(data.samples[index].name, values)


def _tokens(
    model: DenseFeatures, data: TaskData, test: ArtefactsTest, runtime: Runtime
) -> dict[bool, Tensor]:
    """Encode all pictures: tokens (image, patch, channel), fp32 on the host, before and after the norm."""
    encoder, count = model.features.encoder, len(data.samples)
    side = test.side(encoder.spec.patch_size)
    one = 4 * len(STATES) * encoder.spec.dim * (side // encoder.spec.patch_size) ** 2
    if count * one > MOST:
        raise ConfigError(
            f"tokens of {count} pictures need {size_text(count * one)} of memory, at most {size_text(MOST)} are used: "
            f"take {MOST // one} evenly spread pictures (--limit {MOST // one}) or a smaller size"
        )
    batches = in_batches(count, test.batch_size)
    made = prepared_batches(
        data.samples, batches, partial(_square, side=side), workers=runtime.workers, device=model.device
    )
    kept: dict[bool, list[Tensor]] = defaultdict(list)
    said = Lines(runtime.say, "encoding pictures", count)
    for rows, pixels in zip(batches, made, strict=True):
        with torch.inference_mode():
            seen = both_norms(encoder, normalized(pixels.to(model.device, non_blocking=True)))
        for norm, tokens in seen.items():
            kept[norm].append(tokens.patches.float().cpu())
            if not kept[norm][-1].isfinite().all():
                name = data.samples[rows[0]].name
                raise DataError(f"tokens of {name} and others are not finite: is the encoder damaged?")
        said(rows.stop)
    return {norm: torch.cat(of) for norm, of in kept.items()}


def _square(image: np.ndarray, side: int) -> np.ndarray:
    return resize_rgb(image, (side, side))


def _values(tokens: Tensor, data: TaskData) -> dict[str, np.ndarray]:
    """Numbers by name, each as an array over pictures."""
    lengths = tokens.double().norm(dim=-1)  # (image, patch)
    threshold = long_from(lengths)
    parts = pattern_parts(tokens, named_groups(data.samples).names)
    return {
        "long": 100.0 * (lengths > threshold).double().mean(1).numpy(),
        "pattern": torch.stack((parts.explained, parts.total), dim=1).numpy(),
        "longest": lengths.amax(1).numpy(),
        "long_from": np.full(len(tokens), float(threshold)),
    }
