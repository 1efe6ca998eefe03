"""An exported encoder as an `Encoder`: a file of `codistill export --format onnx` in, `Tokens` by onnxruntime out.

It runs on the CPU (or on CUDA, if onnxruntime was installed with it), whatever device the images are on, and has no
gradient. Its fingerprint contains the hash of the file, and so differs from that of the original encoder. A head that
was fitted on the original refuses it unless another encoder is explicitly allowed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from codistill.encoders.base import Encoder
from codistill.errors import CheckpointError, ConfigError
from codistill.files.hashes import file_sha256
from codistill.files.onnx_parts import onnx_parts
from codistill.programs.onnx_file import OnnxProgram
from codistill.programs.program import fits
from codistill.programs.record import ProgramRecord, TokenFacts
from codistill.types import IMAGENET_MEAN, IMAGENET_STD, EncoderSpec, Tokens

SUFFIX = ".onnx"


class OnnxEncoder(Encoder):
    """An encoder in an ONNX file; see the module docstring.

    Args:
        path: the file.

    Raises:
        CheckpointError: if the file is not an exported encoder.
        MissingExtraError: without onnxruntime.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.program = OnnxProgram(path)
        record = self.program.record
        self.facts = _tokens_of(record, self.program.path)
        self.feature_map = any(port.name.startswith("features") for port in record.outputs)
        self.spec = EncoderSpec(
            name=record.name,
            dim=self.facts.dim,
            patch_size=record.patch_size,
            depth=self.facts.depth,
            has_cls=any(port.name.startswith("cls") for port in record.outputs),
            num_registers=self.facts.num_registers,
            image_size=self.facts.image_size,
            mean=IMAGENET_MEAN,  # the graph converts to the network's own
            std=IMAGENET_STD,
            licence=record.licence,
            cls_dim=self.facts.cls_dim,
        )

    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        """Tokens of the last block.

        Raises:
            ConfigError: if the file was exported without the last block, with the other setting of `norm`, or for other
                image sizes.
        """
        if self.facts.blocks:
            return self.encode_blocks(images, (-1,), norm)[0]
        return self._tokens(self._run(images, norm), "", images, norm)

    def encode_blocks(self, images: Tensor, blocks: Sequence[int], norm: bool = True) -> list[Tokens]:
        """Tokens after chosen blocks; only blocks that the file was exported with are available."""
        there = self.facts.blocks or (self.facts.depth - 1,)
        wanted = [block + self.facts.depth if block < 0 else block for block in blocks]
        if missing := [block for block in wanted if block not in there]:
            raise ConfigError(
                f"{self.program.path}: gives blocks {', '.join(map(str, there))}, not {', '.join(map(str, missing))}. "
                "Export it with those: --blocks"
            )
        found = self._run(images, norm)
        tails = [f"_{block}" if self.facts.blocks else "" for block in wanted]
        return [self._tokens(found, tail, images, norm) for tail in tails]

    def _run(self, images: Tensor, norm: bool) -> dict[str, Tensor]:
        if norm != self.facts.normed:
            has, wanted, option = (
                ("after", "before", "--no-norm") if self.facts.normed else ("before", "after", "")
            )
            raise ConfigError(
                f"{self.program.path}: holds tokens {has} the final norm, and those {wanted} it are wanted. Export it "
                f"{f'with {option}' if option else 'without --no-norm'}"
            )
        port = self.program.record.inputs[0]
        if not fits(images.shape, port):
            axes = " x ".join(map(str, port.axes))
            raise ConfigError(
                f"{self.program.path}: takes images of {axes}; got {' x '.join(map(str, images.shape))}. Its size was "
                "fixed when it was exported: resize the images, or export it without --size and --batch"
            )
        found = self.program(images=images.float())
        return {name: tensor.to(images.device, images.dtype) for name, tensor in found.items()}

    def _tokens(self, found: dict[str, Tensor], tail: str, images: Tensor, norm: bool) -> Tokens:
        patch = self.spec.patch_size
        grid = (images.shape[-2] // patch, images.shape[-1] // patch)
        if self.feature_map:
            patches = found[f"features{tail}"].flatten(2).transpose(1, 2)
        else:
            patches = found[f"patches{tail}"]
        return Tokens(patches, grid, found.get(f"cls{tail}"), found.get(f"registers{tail}"), normed=norm)

    def architecture(self) -> dict[str, Any]:
        """Adds the hashes of the file and, if they are separate, of the weights beside it."""
        hashes = [file_sha256(part) for part in onnx_parts(self.program.path)]
        return {**super().architecture(), **dict(zip(("file", "weights_beside"), hashes, strict=False))}


def _tokens_of(record: ProgramRecord, path: Path) -> TokenFacts:
    """The facts about tokens in the record of an exported encoder.

    Raises:
        CheckpointError: if the export is not an encoder.
    """
    if record.kind != "encoder" or record.tokens is None:
        raise CheckpointError(
            f"{path}: is an exported {record.kind}, not an encoder. Run it with codistill.programs.opening.open_program"
        )
    takes = record.inputs[0].name
    if takes != "images":
        raise CheckpointError(
            f"{path}: takes {takes} (uint8), which cannot be made from normalized images. Export the encoder with "
            "--input images to use it here"
        )
    return record.tokens


def onnx_encoder(path: str | Path, **given: Any) -> OnnxEncoder:
    """Load the encoder in an ONNX file.

    Raises:
        ConfigError: for any option, because the file determines everything.
    """
    if given:
        said = ", ".join(f"{key}={value}" for key, value in given.items())
        raise ConfigError(f"{said} cannot be given for {path}: an exported encoder's sizes are its own")
    return OnnxEncoder(path)
