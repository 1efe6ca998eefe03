"""The input side of an exported head: images, pixels or token maps in, levels of tokens out.

A level is the output of one block, or of a projector. A head that is exported alone takes each level as a map (batch,
channel, row, column), whose shape gives the grid, and the level's class token if the head needs it.
"""

import torch
from torch import Tensor, nn

from codistill.deploy.config import ExportConfig
from codistill.deploy.exportable import Exportable, ImageInput, Sizes, axes_of, image_port, per_patch
from codistill.programs.record import Port
from codistill.tasks.shared.features import FrozenFeatures
from codistill.types import Tokens


class Levels(nn.Module):
    """The input side of an exported head, see the module docstring.

    Args:
        features: the frozen features of the head: encoder, blocks, norm, projector.
        config: options of the export.
        with_cls: for token maps: whether class tokens are inputs too.
    """

    def __init__(self, features: FrozenFeatures, config: ExportConfig, *, with_cls: bool = True) -> None:
        super().__init__()
        self.features, self.takes = features, config.takes
        self.count = len(features.config.blocks)
        self.cls_channels = features.cls_channels if with_cls else 0
        self.image = ImageInput(config.takes)
        self.ports = self._token_ports(config) if config.takes == "tokens" else (self._image_port(config),)

    def _image_port(self, config: ExportConfig) -> Port:
        return image_port(config.takes, config, self.features.patch_size)

    def _token_ports(self, config: ExportConfig) -> tuple[Port, ...]:
        batch, *sides = axes_of(config, self.features.patch_size)
        rows, columns = (per_patch(side, self.features.patch_size) for side in sides)
        ports = []
        for level, block in enumerate(self.features.config.blocks):
            tail, which = f"_{level}" if self.count > 1 else "", self._which(block)
            axes = (batch, self.features.channels, rows, columns)
            ports.append(Port(name=f"features{tail}", axes=axes, meaning=f"patch tokens as a map, {which}"))
            if self.cls_channels:
                axes = (batch, self.cls_channels)
                ports.append(Port(name=f"cls{tail}", axes=axes, meaning=f"class token, {which}"))
        return tuple(ports)

    def _which(self, block: int) -> str:
        """Which tokens of the encoder a level is, in words."""
        config = self.features.config
        if config.projector is not None:
            units = ", in its own units" if config.denormalize else ""
            return f"in the space of the teacher {config.projector}{units}"
        depth = self.features.encoder.spec.depth
        place = "after the last block" if block == -1 else f"after block {block % depth}"
        return f"{place}, {'after' if config.norm else 'before'} the final norm"

    def forward(self, *given: Tensor) -> tuple[list[Tokens], tuple[int, int]]:
        """Levels in fp32, and rows and columns of the images in pixels."""
        if self.takes == "tokens":
            levels = list(self._given(given))
            patch, grid = self.features.patch_size, levels[0].grid
            return levels, (grid[0] * patch, grid[1] * patch)
        images = self.image(given[0])
        like = next((p for p in self.features.parameters() if p.is_floating_point()), images)
        levels = [tokens.map(Tensor.float) for tokens in self.features(images.to(like.dtype))]
        return levels, (images.shape[-2], images.shape[-1])

    def _given(self, tensors: tuple[Tensor, ...]):
        parts = iter(tensors)
        normed = self.features.student is not None or self.features.config.norm
        for features in parts:
            cls = next(parts) if self.cls_channels else None
            grid = (features.shape[-2], features.shape[-1])
            yield Tokens(features.flatten(2).transpose(1, 2), grid, cls=cls, normed=normed)

    @torch.no_grad()
    def example(self, sizes: Sizes, pixels: Tensor) -> dict[str, Tensor]:
        """Inputs by name, made from images (batch, row, column, 3) uint8."""
        if self.takes != "tokens":
            return {self.ports[0].name: self.image.example(pixels)}
        found: list[Tensor] = []
        for tokens in self.features(self.image.example(pixels)):
            found.append(tokens.feature_map())
            if self.cls_channels:
                assert tokens.cls is not None
                found.append(tokens.cls)
        return {port.name: tensor for port, tensor in zip(self.ports, found, strict=True)}

    def to_lower(self) -> list[nn.Module]:
        """Encoder and projector; nothing if the inputs are tokens."""
        if self.takes == "tokens":
            return []
        student = self.features.student
        return [self.features.encoder] if student is None else [student.encoder, student.projectors]


class OnLevels(Exportable):
    """Base of the exported networks that read levels of tokens.

    Attributes:
        levels: its input side.
    """

    levels: Levels

    def to_lower(self) -> list[nn.Module]:
        return self.levels.to_lower()

    def example(self, sizes: Sizes, images: Tensor) -> dict[str, Tensor]:
        return self.levels.example(sizes, images)
