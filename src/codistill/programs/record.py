"""What an exported file says about itself: `ProgramRecord`, kept as JSON in the file's own metadata.

It suffices to use the file without codistill: names, axes and number types of inputs and outputs, how images must be
prepared, where the weights come from and under which licence, and how far its numbers were from the original's.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from codistill.errors import CheckpointError, ConfigError
from codistill.files.plain import from_plain, to_plain

KEY = "codistill"
"""The metadata entry with the record; for ONNX, its main facts are also entries of their own, for other readers."""
VERSION = 1

FormatName = Literal["onnx", "torch-export", "aoti"]
PrecisionName = Literal["fp32", "fp16", "bf16", "int8"]


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input or output tensor.

    Attributes:
        name: in the graph.
        axes: per axis a number, or the axis's name where it is open: `batch`, `rows*14` (a multiple of 14 pixels).
        dtype: `float32`, `uint8`, `bool`.
        meaning: in words, with units.
    """

    name: str
    axes: tuple[int | str, ...]
    dtype: str = "float32"
    meaning: str = ""


@dataclass(frozen=True, kw_only=True)
class Check:
    """How far an output was from eager PyTorch's in fp32.

    Attributes:
        output: its name.
        largest: largest absolute difference, over the root mean square of the eager output.
        mean: root mean square of the difference, over the same.
    """

    output: str
    largest: float
    mean: float


@dataclass(frozen=True, kw_only=True)
class TokenFacts:
    """What an exported encoder's tokens are; see `EncoderSpec`.

    Attributes:
        dim, cls_dim, num_registers, depth, image_size: of the encoder.
        normed: whether the final norm was applied.
        blocks: whose outputs there are, 0-based; () for the last one alone.
    """

    dim: int
    cls_dim: int | None = None
    num_registers: int = 0
    depth: int = 0
    image_size: int | None = None
    normed: bool = True
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ProgramRecord:
    """Description of an exported file.

    Attributes:
        kind: `encoder`, `projector`, or the task of a head.
        source: encoder or head, as it was named.
        name, licence: of the weights.
        patch_size: pixels per token side.
        mean, std: the normalization of `images`, in [0, 1] units; empty where pixels or tokens go in.
        format, precision: of the file.
        opset: of ONNX's default domain.
        inputs, outputs: in order.
        tokens: of an encoder.
        fingerprint: SHA-256 of the encoder's weights.
        classes: of a head that tells classes apart.
        checks: differences from eager fp32, by output; empty if the export was not checked.
        tolerance: on `Check.largest`, or for int8 on `Check.mean`.
        checked_with: what went in, in words.
        choices: of the export, as plain data; see `ExportConfig`.
        versions: of codistill and torch.
    """

    kind: str
    source: str
    name: str
    licence: str
    patch_size: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    format: FormatName
    precision: PrecisionName
    opset: int | None = None
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    tokens: TokenFacts | None = None
    fingerprint: str = ""
    classes: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    tolerance: float | None = None
    checked_with: str = ""
    choices: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps({"version": VERSION, **to_plain(self)}, ensure_ascii=False, sort_keys=True)


def record_of_json(text: str, where: str) -> ProgramRecord:
    """The record in a metadata entry.

    Raises:
        CheckpointError: if it is damaged, or of another version of codistill.
    """
    try:
        plain: Any = json.loads(text)
        if not isinstance(plain, dict) or plain.pop("version", None) != VERSION:
            raise CheckpointError(
                f"{where}: its description is not of this version of codistill; export it again"
            )
        return from_plain(ProgramRecord, plain, where)
    except (ValueError, RecursionError, ConfigError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{where}: damaged description ({error}). Export the network again.") from error
