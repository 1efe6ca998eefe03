"""Export of an encoder, or of a student with the projector of a teacher: images in, tokens out."""

from torch import Tensor

from codistill.deploy.config import ExportConfig, refuse
from codistill.deploy.exportable import about_encoder, axes_of, per_patch
from codistill.deploy.levels import Levels, OnLevels
from codistill.errors import ConfigError
from codistill.programs.record import Port, TokenFacts
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.types import Tokens


class ExportedEncoder(OnLevels):
    """Map images or pixels to `patches` (or `features`, a map), `cls` and `registers`, for each block if requested.

    Args:
        what: an encoder, as for `load_encoder`; a student if a projector is requested.
        config: options of the export.

    Raises:
        ConfigError: for options that do not apply.
    """

    def __init__(self, what: str, config: ExportConfig) -> None:
        super().__init__()
        refuse(config, "an encoder", "people", "bodies")
        if config.takes == "tokens":
            raise ConfigError(
                "an encoder takes images or pixels; tokens go into a head: name a head's folder"
            )
        chosen = FeatureConfig(
            encoder=what,
            projector=config.projector,
            denormalize=config.denormalize,
            norm=config.norm,
            blocks=config.blocks or (-1,),
        )
        if config.projector is not None:
            refuse(config, "what comes out of a projector", "norm", "blocks")
        self.levels = Levels(FrozenFeatures(chosen), config)
        features = self.levels.features
        spec = features.encoder.spec
        projected = features.student is not None
        numbers = tuple(block + spec.depth if block < 0 else block for block in config.blocks)
        if len(set(numbers)) < len(numbers):
            raise ConfigError(f"--blocks {','.join(map(str, config.blocks))} names a block of {what} twice")
        self.feature_map, self.has_cls = config.feature_map, features.has_cls
        self.num_registers = 0 if projected else spec.num_registers
        facts = TokenFacts(
            dim=features.channels,
            cls_dim=features.cls_channels if features.cls_channels != features.channels else None,
            num_registers=self.num_registers,
            depth=spec.depth,
            image_size=spec.image_size,
            normed=config.norm,
            blocks=numbers,
        )
        kind = "projector" if projected else "encoder"
        self.about = about_encoder(features.encoder, kind, what, tokens=facts)
        self.inputs, self.fixed_size = self.levels.ports, config.size
        self.outputs = tuple(self._outputs(config, numbers))

    def _outputs(self, config: ExportConfig, numbers: tuple[int, ...]):
        features = self.levels.features
        batch, *sides = axes_of(config, features.patch_size)
        rows, columns = (per_patch(side, features.patch_size) for side in sides)
        count = f"{rows}*{columns}" if isinstance(rows, str) or isinstance(columns, str) else rows * columns
        space = f"of the teacher {config.projector}" if config.projector else ""
        for number in numbers or (None,):
            tail = "" if number is None else f"_{number}"
            after = space or ("" if number is None else f"after block {number}")
            if self.feature_map:
                axes = (batch, features.channels, rows, columns)
                yield Port(
                    name=f"features{tail}", axes=axes, meaning=f"patch tokens as a map {after}".strip()
                )
            else:
                axes = (batch, count, features.channels)
                yield Port(name=f"patches{tail}", axes=axes, meaning=f"patch tokens {after}".strip())
            if self.has_cls:
                axes = (batch, features.cls_channels)
                yield Port(name=f"cls{tail}", axes=axes, meaning=f"class token {after}".strip())
            if self.num_registers:
                axes = (batch, self.num_registers, features.channels)
                yield Port(name=f"registers{tail}", axes=axes, meaning=f"register tokens {after}".strip())

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        levels, _ = self.levels(*given)
        return tuple(tensor for tokens in levels for tensor in self._parts(tokens))

    def _parts(self, tokens: Tokens) -> list[Tensor]:
        parts = [tokens.feature_map() if self.feature_map else tokens.patches]
        if self.has_cls:
            assert tokens.cls is not None
            parts.append(tokens.cls)
        if self.num_registers:
            assert tokens.registers is not None
            parts.append(tokens.registers)
        return parts
