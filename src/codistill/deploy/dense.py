"""Export of a head that gives a value for every pixel (depth, segmentation, normals), with its encoder or alone."""

from pathlib import Path

from torch import Tensor

from codistill.deploy.config import ExportConfig, refuse
from codistill.deploy.exportable import about_encoder, axes_of
from codistill.deploy.levels import Levels, OnLevels
from codistill.errors import ConfigError
from codistill.programs.record import Port
from codistill.tasks.dense.load import DenseModel
from codistill.tasks.registry import find_task
from codistill.tasks.task import Subject


class ExportedDenseHead(OnLevels):
    """Map images, pixels or tokens to a map (batch, channel, row, column) at the resolution of the images.

    The graph processes the whole image at once. Windows, several scales and mirrored images, which a head may use in
    its evaluation, are not part of it.

    Args:
        task: name of the task.
        folder: folder of the head.
        config: options of the export.

    Raises:
        ConfigError: if the task's answer is not a map.
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
        model = found.load(Subject(head=folder), found.test(), None)
        if not isinstance(model, DenseModel):
            raise ConfigError(
                f"{folder}: is a head for {task}, which is not exported: its answer is no map. Export its encoder"
            )
        gives = model.gives
        self.answer, self.head = model.answer, model.head
        classes: tuple[str, ...] = getattr(model, "classes", ())
        features = model.features
        self.levels = Levels(features, config, with_cls=gives.with_cls)
        self.about = about_encoder(features.encoder, task, str(folder), classes=classes)
        self.inputs, self.fixed_size = self.levels.ports, config.size
        batch, rows, columns = axes_of(config, features.patch_size)
        axes = (batch, gives.channels or len(classes), rows, columns)
        self.outputs = (Port(name=gives.name, axes=axes, meaning=gives.meaning),)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        levels, size = self.levels(*given)
        return (self.answer(levels, size),)
