"""Export of a two-view head with its encoder, or of its decoder alone: two images (or token maps) in, pointmaps out.

Both views have the same size. With tokens as inputs, the exported encoder encodes every image once, whatever the number
of its pairs. That encoder must be exported with `--no-norm` if the head has its own norm.
"""

from pathlib import Path

from torch import Tensor, nn

from codistill.deploy.config import ExportConfig, refuse
from codistill.deploy.exportable import (
    Exportable,
    ImageInput,
    Sizes,
    about_encoder,
    axes_of,
    image_port,
    per_patch,
)
from codistill.heads.two_view.network import ViewPrediction
from codistill.programs.record import Port
from codistill.tasks.task import Subject
from codistill.tasks.two_view.head import open_two_view
from codistill.types import Tokens

FIELDS = ("points", "confidence", "descriptors", "descriptor_confidence")
MEANING = {
    "points": "in the first camera's frame; metres if the training was metric",
    "confidence": "of the points",
    "descriptors": "unit vectors",
    "descriptor_confidence": "of the descriptors",
}


class ExportedTwoView(Exportable):
    """Map two views to the points, confidences and descriptors of both: `points1`, …, `points2`, ….

    Args:
        path: a folder of a fitted head, or a released file.
        config: options of the export.
    """

    least = 3  # the dense heads halve the grid and resize it again

    def __init__(self, path: Path, config: ExportConfig) -> None:
        super().__init__()
        what = "a two-view head"
        refuse(config, what, "blocks", "norm", "feature_map", "projector", "denormalize", "people", "bodies")
        subject = Subject(head=path) if path.is_dir() else Subject(model=path)
        self.model = open_two_view(subject).model
        head, spec = self.model.head.config, self.model.encoder.spec
        self.takes, self.normed = config.takes, not head.fresh_norm
        self.about = about_encoder(self.model.encoder, "two-view", str(path))
        self.image = ImageInput(config.takes)
        batch, rows, columns = axes_of(config, spec.patch_size)
        if config.takes == "tokens":
            grid = (per_patch(rows, spec.patch_size), per_patch(columns, spec.patch_size))
            meaning = f"patch tokens as a map, {'after' if self.normed else 'before'} the encoder's norm"
            ports = [
                Port(name=f"features{view}", axes=(batch, spec.dim, *grid), meaning=meaning)
                for view in (1, 2)
            ]
        else:
            ports = [
                image_port(config.takes, config, spec.patch_size, f"{config.takes}{view}") for view in (1, 2)
            ]
        self.inputs, self.fixed_size = tuple(ports), config.size
        channels = {"points": (3,), "descriptors": (head.descriptor_dim,)}
        self.fields = FIELDS if head.descriptor_dim else FIELDS[:2]
        self.outputs = tuple(
            Port(
                name=f"{name}{view}",
                axes=(batch, rows, columns, *channels.get(name, ())),
                meaning=MEANING[name],
            )
            for view in (1, 2)
            for name in self.fields
        )

    def to_lower(self) -> list[nn.Module]:
        """All parts except the dense heads, whose outputs are exponentiated, which amplifies rounding errors."""
        head = self.model.head
        decoder: list[nn.Module] = [head.embed, head.blocks1, head.blocks2, head.decoder_norm]
        decoder += [head.norm] if head.config.fresh_norm else []
        return decoder if self.takes == "tokens" else [self.model.encoder, *decoder]

    def example(self, sizes: Sizes, images: Tensor) -> dict[str, Tensor]:
        views = (images, images.flip(0).roll(images.shape[2] // 4, dims=2))
        given = [self.image.example(view) for view in views]
        if self.takes == "tokens":
            given = [self.model.encode(view).feature_map().detach() for view in given]
        return {port.name: view for port, view in zip(self.inputs, given, strict=True)}

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        if self.takes == "tokens":
            views = self._tokens(given[0]), self._tokens(given[1])
        else:
            first, second = (self.image(view).to(self.dtype) for view in given)
            views = self.model.encode_pair(first, second)
        predictions: tuple[ViewPrediction, ViewPrediction] = self.model.head(*views)
        return tuple(getattr(view, name) for view in predictions for name in self.fields)

    def _tokens(self, features: Tensor) -> Tokens:
        patches = features.flatten(2).transpose(1, 2).to(self.dtype)
        return Tokens(patches, (features.shape[-2], features.shape[-1]), normed=self.normed)
