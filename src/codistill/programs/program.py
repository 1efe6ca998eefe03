"""An opened exported file: tensors by name in, tensors by name out, in any runtime."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from codistill.errors import CheckpointError, ConfigError
from codistill.programs.record import Port, ProgramRecord


class Program(ABC):
    """An opened exported file.

    Attributes:
        path: the file.
        record: the description in its metadata.
        runtime: name of the runtime, for tables.
    """

    path: Path
    record: ProgramRecord
    runtime: str

    def __call__(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Run the network on host tensors.

        Raises:
            ConfigError: for missing or surplus inputs, or wrong shapes.
        """
        self._check(inputs)
        return self.run(inputs)

    @abstractmethod
    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute outputs by name, for checked inputs."""

    def _check(self, inputs: Mapping[str, Tensor]) -> None:
        wanted = [port.name for port in self.record.inputs]
        if set(inputs) != set(wanted):
            raise ConfigError(
                f"{self.path}: wants the inputs {', '.join(wanted)}; got {', '.join(inputs) or 'none'}"
            )
        for port in self.record.inputs:
            tensor = inputs[port.name]
            kind = str(tensor.dtype).removeprefix("torch.")
            if kind != port.dtype or not fits(tensor.shape, port):
                raise ConfigError(
                    f"{self.path}: {port.name} must be {port.dtype} ({', '.join(map(str, port.axes))}); got {kind} "
                    f"{tuple(tensor.shape)}. A size that is a number was fixed when the file was exported."
                )


def fits(shape: tuple[int, ...], port: Port) -> bool:
    """Whether a port accepts a shape."""
    return len(shape) == len(port.axes) and all(
        size % multiple_of(axis) == 0 if isinstance(axis, str) else size == axis
        for size, axis in zip(shape, port.axes, strict=True)
    )


def multiple_of(axis: str) -> int:
    """The factor in the name of an open axis: 14 for `rows*14`, else 1."""
    return int(axis.partition("*")[2] or 1)


def not_ours(path: Path) -> CheckpointError:
    """Error for a file without a record."""
    return CheckpointError(
        f"{path}: does not say how its images are prepared and what its outputs mean: it was not written by `codistill "
        "export`. Export the network with it, or wrap the file yourself: codistill.register_encoder."
    )
