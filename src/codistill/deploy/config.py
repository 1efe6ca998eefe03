"""Options of `codistill export`."""

import math
from dataclasses import dataclass
from typing import Literal

from codistill.errors import ConfigError, check_least, unknown_name
from codistill.programs.record import FormatName, PrecisionName

Takes = Literal["images", "pixels", "tokens"]
SUFFIX: dict[FormatName, str] = {"onnx": ".onnx", "torch-export": ".pt2", "aoti": ".pt2"}
"""Suffix of the files of each format."""
PRECISIONS: tuple[PrecisionName, ...] = ("fp32", "fp16", "bf16", "int8")
TAKES: tuple[Takes, ...] = ("images", "pixels", "tokens")
PEOPLE = 10
"""Default of the largest number of people per image."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Options of an export; an option that does not apply to the exported network is refused.

    Attributes:
        format: `onnx`; `torch-export`, PyTorch's own program; `aoti`, the same compiled for this machine.
        precision: precision of the transformer. Dense layers of heads, inputs and outputs stay in fp32. int8: only its
            linear layers, with activations quantized at run time.
        takes: `images`: ImageNet-normalized (batch, 3, row, column); `pixels`: uint8 (batch, row, column, 3), which the
            graph normalizes; `tokens`: a head alone, on token maps (batch, channel, row, column).
        size: fix the images' rows and columns; None: any multiples of the patch size.
        batch: fix the number of images; None: any number.
        blocks: blocks of an encoder whose outputs are exported, 0-based, negative from the end; (): the last one.
        norm: apply an encoder's final norm.
        feature_map: export patch tokens as a map (batch, channel, row, column).
        projector: export a student's tokens in the space of this teacher.
        denormalize: convert them to the teacher's own units.
        people: largest number of people per image of a human-mesh head; None: 10.
        bodies: also export vertices and joints, computed by the head's body model.
    """

    format: FormatName = "onnx"
    precision: PrecisionName = "fp32"
    takes: Takes = "images"
    size: tuple[int, int] | None = None
    batch: int | None = None
    blocks: tuple[int, ...] = ()
    norm: bool = True
    feature_map: bool = False
    projector: str | None = None
    denormalize: bool = False
    people: int | None = None
    bodies: bool = False

    def __post_init__(self) -> None:
        if self.format not in SUFFIX:
            hint = " An export folder for codistill itself is made by `codistill convert`."
            raise ConfigError(unknown_name("format", self.format, SUFFIX) + hint)
        if self.precision not in PRECISIONS:
            raise ConfigError(unknown_name("precision", self.precision, PRECISIONS))
        if self.format == "onnx" and self.precision == "bf16":
            raise ConfigError(
                "ONNX files are not exported in bf16: opset 18 has no bf16 convolutions, and onnxruntime none on a "
                "CPU. Export fp32, and let TensorRT or OpenVINO compute in bf16; or use --format torch-export or aoti"
            )
        if self.takes not in TAKES:
            raise ConfigError(unknown_name("input", self.takes, TAKES))
        check_least(self, "batch", "people")
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise ConfigError(f"size must be rows and columns in pixels; got {self.size}")
        if len(set(self.blocks)) != len(self.blocks):
            raise ConfigError(f"blocks {self.blocks} name one twice")
        if self.denormalize and self.projector is None:
            raise ConfigError("denormalize needs a projector: name the teacher (--projector)")


DEFAULT = ExportConfig()


def refuse(config: ExportConfig, what: str, *names: str) -> None:
    """Raise ConfigError if one of these fields was set, which would have no effect on `what`."""
    given = [name for name in names if getattr(config, name) != getattr(DEFAULT, name)]
    if given:
        options = ", ".join("--" + {"norm": "no-norm", "feature_map": "map"}.get(n, n) for n in given)
        raise ConfigError(f"{options} would have no effect on {what}")


TOLERANCES: dict[PrecisionName, float] = {"fp32": 1e-3, "fp16": 0.1, "bf16": 0.5, "int8": 0.15}
"""Tolerance, by precision: of the largest difference (for int8, of the differences' root mean square), relative to
the output's root mean square."""


def check_tolerance(value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"the tolerance must be a number above 0; got {value}")
