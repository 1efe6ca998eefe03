"""The description of an exported file: `ProgramRecord`, stored as JSON in the file's own metadata.

It contains all that is needed to use the file without codistill: names, axes and dtypes of inputs and outputs, the
preparation of images, the source and licence of the weights, and the differences from the original network.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from codistill.errors import CheckpointError, ConfigError
from codistill.files.plain import from_plain, to_plain

KEY = "codistill"
"""The metadata entry with the record; in ONNX files, its main facts are also separate entries, for other readers."""
VERSION = 1

FormatName = Literal["onnx", "torch-export", "aoti"]
PrecisionName = Literal["fp32", "fp16", "bf16", "int8"]


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input or output tensor.

    Attributes:
        name: name in the graph.
        axes: for each axis its size, or its name if it is open: `batch`, `rows*14` (a multiple of 14 pixels).
        dtype: `float32`, `uint8`, `bool`.
        meaning: meaning in words, with units.
    """

    name: str
    axes: tuple[int | str, ...]
    dtype: str = "float32"
    meaning: str = ""


@dataclass(frozen=True, kw_only=True)
class Check:
    """Difference of an output from eager PyTorch in fp32.

    Attributes:
        output: name of the output.
        largest: largest absolute difference, relative to the root mean square of the eager output.
        mean: root mean square of the difference, relative to the same.
    """

    output: str
    largest: float
    mean: float


@dataclass(frozen=True, kw_only=True)
class TokenFacts:
    """Description of an exported encoder's tokens; see `EncoderSpec`.

    Attributes:
        dim, cls_dim, num_registers, depth, image_size: as in the encoder's spec.
        normed: whether the final norm was applied.
        blocks: blocks whose outputs the file gives, 0-based; () for the last one only.
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
        source: encoder or head, as the user named it.
        name, licence: name and licence of the weights.
        patch_size: pixels per token side.
        mean, std: normalization of `images`, for pixels in [0, 1]; empty if the inputs are pixels or tokens.
        format, precision: format and precision of the file.
        opset: opset of ONNX's default domain.
        inputs, outputs: ports, in order.
        tokens: description of an encoder's tokens.
        fingerprint: SHA-256 of the encoder's weights.
        classes: class names of a head that classifies.
        checks: differences from eager fp32, by output; empty if the export was not checked.
        tolerance: largest allowed `Check.largest`, or for int8 `Check.mean`.
        checked_with: description of the inputs of the check.
        choices: options of the export, as plain data; see `ExportConfig`.
        versions: versions of codistill and torch.
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
    """Parse the record in a metadata entry.

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
