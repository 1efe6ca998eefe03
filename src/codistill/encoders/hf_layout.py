"""Find which outputs of a transformers model are patches, by running it on small images.

The number of tokens tells the patch size and the number of tokens before the patches; where the patch size is unknown,
tokens are counted at two image sizes. Where a model gives its embeddings, one patch of the image is changed: the token
that changes with it shows where the patches start, and that they are in row-major order. Names are not used.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from codistill.errors import ConfigError

Run = Callable[..., Any]
"""Function from images (batch, 3, row, column) and options to a transformers output."""

RAISED = (
    RuntimeError,
    ValueError,
    TypeError,
    AssertionError,
    LookupError,
    AttributeError,
    ArithmeticError,
)
"""Exceptions that models raise for images that they do not accept."""

STRIDED = 64
"""Shorter side in pixels of the first trial image where the configuration has no patch size; most strides are 32."""


class JoinedImagesError(ConfigError):
    """The model joins the images of a batch into one sequence."""


@dataclass(frozen=True)
class Layout:
    """Where the patches are in `last_hidden_state`.

    Attributes:
        patch: pixels per token side.
        prefix: tokens before the patches; 0 for maps.
        is_map: whether it is a map, (batch, channel, row, column) unless `channels_last`.
        channels_last: whether the map is (batch, row, column, channel).
        dim: channels of a token.
        blocks: whether there is one hidden state per block, each of the same shape as the last.
    """

    patch: int
    prefix: int
    is_map: bool
    channels_last: bool
    dim: int
    blocks: bool


def find_layout(
    run: Run, *, patch: int | None, size: int, depth: int, name: str, fixed: bool = False
) -> Layout:
    """Find the layout of a model's output.

    Args:
        run: the model.
        patch: the patch size in its configuration, or None.
        size: its native side in pixels.
        depth: the number of blocks in its configuration.
        fixed: try the native size only.
        name: for errors.

    Raises:
        ConfigError: if the model cannot be an encoder; the text gives the reason.
    """
    try:
        output, shape = _first_look(run, patch, size, fixed, name)
        hidden = output.last_hidden_state
        if hidden.ndim == 4:
            return _of_map(hidden, shape, name)
        patch, prefix = _of_sequence(run, hidden, shape, patch, name)
    except ConfigError as error:
        if patch is None or isinstance(error, JoinedImagesError):
            raise
        # The stated patch size was that of the first stage only.
        return find_layout(run, patch=None, size=size, depth=depth, name=name, fixed=fixed)
    grid = (shape[0] // patch, shape[1] // patch)
    states = getattr(output, "hidden_states", None) or ()
    blocks = depth > 0 and len(states) > depth and all(s.shape == hidden.shape for s in states[-depth - 1 :])
    if len(states) > 1 and states[0].shape == hidden.shape:
        prefix = _checked_prefix(run, states[0], shape, grid, prefix, name)
    return Layout(patch, prefix, False, False, hidden.shape[2], blocks)


def _first_look(
    run: Run, patch: int | None, size: int, fixed: bool, name: str
) -> tuple[Any, tuple[int, int]]:
    """An output with hidden states, and the image's shape: two small non-square images are tried, then a native one."""
    side = patch or STRIDED // 2
    reasons = []
    sizes = [(2 * side, 3 * side, 2), (size, size, 1)]
    for rows, columns, count in sizes[1:] if fixed else sizes:
        try:
            output = run(probe_images(rows, columns)[:count], output_hidden_states=True)
            hidden = output.last_hidden_state
            if not isinstance(hidden, Tensor) or hidden.ndim not in (3, 4):
                raise ValueError(f"its last_hidden_state is {_shape(hidden)}")
            if hidden.shape[0] != count:
                raise JoinedImagesError(
                    f"{name}: two images give {_shape(hidden)}: it joins the images of a batch, which is not supported"
                )
        except JoinedImagesError:
            raise
        except RAISED as error:
            reasons.append(f"{rows}x{columns}: {_first_line(error)}")
            continue
        return output, (rows, columns)
    raise ConfigError(
        f"{name}: {reasons[-1]}. It cannot be run as an encoder of single images. Wrap it "
        "yourself: codistill.register_encoder with FunctionEncoder."
    )


def _of_map(hidden: Tensor, shape: tuple[int, int], name: str) -> Layout:
    for channels_last, (rows, columns) in ((False, hidden.shape[2:]), (True, hidden.shape[1:3])):
        if rows and shape[0] % rows == 0 and shape[0] // rows * columns == shape[1]:
            dim = hidden.shape[3] if channels_last else hidden.shape[1]
            return Layout(shape[0] // rows, 0, True, channels_last, dim, False)
    raise _no_grid(hidden, shape, name)


def _of_sequence(
    run: Run, hidden: Tensor, shape: tuple[int, int], patch: int | None, name: str
) -> tuple[int, int]:
    """Patch size and number of prefix tokens, from the number of tokens.

    Where the patch size is unknown, a second image size is tried.
    """
    count = hidden.shape[1]
    if patch and (prefix := count - (shape[0] // patch) * (shape[1] // patch)) >= 0:
        return patch, prefix
    try:
        more = run(probe_images(shape[0], 2 * shape[1])[:1]).last_hidden_state.shape[1] - count
    except RAISED:
        more = count
    side = math.sqrt(shape[0] * shape[1] / more) if more > 0 else 0.0
    if side >= 1 and side == int(side) and count >= more and shape[0] % side == shape[1] % side == 0:
        return int(side), count - more
    raise _no_grid(hidden, shape, name)


def _checked_prefix(
    run: Run, embedded: Tensor, shape: tuple[int, int], grid: tuple[int, int], prefix: int, name: str
) -> int:
    """The index of the first patch token, found by changing patches of the image, whose tokens must be row-major."""
    starts = set()
    for row, column in {(0, 0), (grid[0] - 1, grid[1] - 1), (grid[0] - 1, 0)}:
        images = probe_images(*shape)
        high, wide = shape[0] // grid[0], shape[1] // grid[1]
        images[:, :, row * high : (row + 1) * high, column * wide : (column + 1) * wide] *= -2.0
        moved = run(images[: len(embedded)], output_hidden_states=True).hidden_states[0] - embedded
        starts.add(int(moved.abs().sum((0, 2)).argmax()) - (row * grid[1] + column))
    if len(starts) != 1 or not 0 <= min(starts) <= prefix:
        raise ConfigError(
            f"{name}: its tokens are not patches in rows after {prefix} other tokens, so their places are unknown. "
            "Wrap it yourself: codistill.register_encoder with FunctionEncoder."
        )
    return starts.pop()


def probe_images(rows: int, columns: int) -> Tensor:
    """Two different images (2, 3, row, column), the same at every call."""
    count = 2 * 3 * rows * columns
    return torch.linspace(0.0, 37.0, count).sin().reshape(2, 3, rows, columns)


def _no_grid(hidden: Tensor, shape: tuple[int, int], name: str) -> ConfigError:
    return ConfigError(
        f"{name}: gives {_shape(hidden)} for two images of {shape[0]}x{shape[1]}: neither a map nor patch tokens. Wrap "
        "it yourself: codistill.register_encoder with FunctionEncoder."
    )


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
