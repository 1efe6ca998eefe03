"""A head with a value for every pixel (depth, segmentation, normals), with its encoder or alone, for export."""

from pathlib import Path

from torch import Tensor, nn

from codistill.deploy.config import ExportConfig, refuse
from codistill.deploy.exportable import Exportable, Sizes, about_encoder, axes_of
from codistill.deploy.levels import Levels
from codistill.programs.record import Port
from codistill.tasks.dense.load import DenseModel
from codistill.tasks.registry import find_task
from codistill.tasks.task import Subject

ANSWERS: dict[str, tuple[str, int | None, str]] = {
    "depth": ("depth", 1, "metres"),
    "segmentation": ("logits", None, "scores of the classes, before a softmax"),
    "normals": (
        "normals",
        3,
        "unit vectors in the camera's frame (x right, y down, z forward), towards the camera",
    ),
}
"""Per task: its output's name, channels (None: one per class) and meaning."""


class ExportedDenseHead(Exportable):
    """Images, pixels or tokens to a map (batch, channel, row, column) at the images' own resolution.

    The whole image at once: windows, several scales and mirrored images, if the head's test uses them, stay outside.

    Args:
        task: its name, a key of `ANSWERS`.
        folder: of the head.
        config: of the export.
    """

    def __init__(self, task: str, folder: Path, config: ExportConfig) -> None:
        super().__init__()
        refuse(
            config,
            f"a head for {task}",
            "blocks",
            "norm",
            "feature_map",
            "projector",
            "denormalize",
            "people",
            "bodies",
        )
        found = find_task(task)
        model: DenseModel = found.load(Subject(head=folder), found.test(), None)
        self.answer, self.head = model.answer, model.head
        classes: tuple[str, ...] = getattr(model, "classes", ())
        features = model.features
        self.levels = Levels(features, config, with_cls=task == "depth")
        self.about = about_encoder(features.encoder, task, str(folder), classes=classes)
        self.inputs, self.fixed_size = self.levels.ports, config.size
        name, channels, meaning = ANSWERS[task]
        batch, rows, columns = axes_of(config, features.patch_size)
        axes = (batch, channels or len(classes), rows, columns)
        self.outputs = (Port(name=name, axes=axes, meaning=meaning),)

    def to_lower(self) -> list[nn.Module]:
        return self.levels.to_lower()

    def example(self, sizes: Sizes, images: Tensor) -> dict[str, Tensor]:
        return self.levels.example(sizes, images)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        levels, size = self.levels(*given)
        return (self.answer(levels, size),)
