"""A state dict that keeps each tensor's name in the file, for error messages.

In: a path and the dictionary of `read_checkpoint`. Out: tensors under plain names (without prefixes of wrappers), which
can be selected by prefix and renamed. The errors that all layouts share are raised here: missing or surplus keys, wrong
shapes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codistill.errors import CheckpointError

CONTAINERS = ("model", "model_state_dict", "state_dict", "teacher")
"""Entries of a checkpoint that may hold the state dict, in order of preference."""

WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Parts that DDP, torch.compile, FSDP and activation checkpointing add to names."""


@dataclass(frozen=True)
class StateDict:
    """Tensors of a file.

    Attributes:
        path: the file.
        tensors: tensors by plain name.
        names: name in the file by plain name.
        rest: the checkpoint's other entries.
        header: the text metadata of a safetensors file.
    """

    path: Path
    tensors: dict[str, Tensor]
    names: dict[str, str]
    rest: dict[str, Any]
    header: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_checkpoint(cls, path: Path, checkpoint: Mapping[str, Any]) -> "StateDict":
        """The state dict in a checkpoint: one of the entries `CONTAINERS`, or the checkpoint itself.

        Raises:
            CheckpointError: if there is none or more than one (weights and their moving average), or two tensors have
                the same name without wrappers' prefixes.
        """
        held = [key for key in CONTAINERS if isinstance(checkpoint.get(key), Mapping)]
        held = [key for key in held if any(isinstance(v, Tensor) for v in checkpoint[key].values())]
        state: Mapping[Any, Any] = checkpoint[held[0]] if held else checkpoint
        # Wrappers (DDP, torch.compile, FSDP) add parts to names, which are removed here.
        original = [key for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)]
        if not original:
            entries = ", ".join(str(key) for key in list(checkpoint)[:8]) or "nothing"
            raise CheckpointError(
                f"{path}: holds no tensors by name (it holds: {entries}). "
                f"Expected a state dict, alone or as one of the entries {', '.join(CONTAINERS)}."
            )
        plain = {key: _plain(key) for key in original}
        names = set(plain.values())
        again = [
            k for k, v in checkpoint.items() if held and isinstance(v, Mapping) and _plain_names(v) == names
        ]
        others = [
            key for key in again if key not in (held[0], "student")
        ]  # a teacher goes before its student
        if others:
            raise CheckpointError(
                f"{path}: holds the same tensors twice, as {held[0]!r} and as {others[0]!r}, and nothing says which "
                f"are meant. Save the ones you want alone, e.g. torch.save(checkpoint[{others[0]!r}], …)."
            )
        twice = [name for name, count in Counter(plain.values()).items() if count > 1]
        if twice:
            raise CheckpointError(f"{path}: holds {_listed(twice)} twice, under different prefixes")
        rest = {str(key): value for key, value in checkpoint.items() if key not in held}
        return cls(
            path=path,
            tensors={name: state[key] for key, name in plain.items()},
            names={name: key for key, name in plain.items()},
            rest={} if not held else rest,
        )

    def under(self, prefix: str) -> "StateDict":
        """The tensors whose names start with `prefix`, under names without it."""
        return self.renamed(lambda name: name[len(prefix) :] if name.startswith(prefix) else None)

    def renamed(self, rename: Callable[[str], str | None]) -> "StateDict":
        """The tensors under other names; a tensor whose new name is None is dropped."""
        new = {name: rename(name) for name in self.tensors}
        return replace(
            self,
            tensors={to: self.tensors[name] for name, to in new.items() if to is not None},
            names={to: self.names[name] for name, to in new.items() if to is not None},
        )

    def has(self, *names: str) -> bool:
        """Whether the file has all these tensors."""
        return all(name in self.tensors for name in names)

    def tensor(self, name: str, ndim: int) -> Tensor:
        """A required tensor with `ndim` axes; raises CheckpointError if it is missing or has another number of axes."""
        if name not in self.tensors:
            raise CheckpointError(
                f"{self.path}: misses {name!r} (a tensor with {ndim} axes). The file is incomplete or has another "
                "layout: download it again, or look into it with `codistill inspect`."
            )
        tensor = self.tensors[name]
        if tensor.ndim != ndim or 0 in tensor.shape:
            raise CheckpointError(
                f"{self.path}: {self.names[name]!r} has shape {tuple(tensor.shape)}; expected {ndim} axes, none empty. "
                "The file is damaged or has another layout."
            )
        return tensor

    def check(self, expected: Mapping[str, torch.Size], rename: Callable[[str], str] = str) -> None:
        """Check names, shapes and kinds of dtype against what is expected, then the values, see `check_values`.

        Args:
            expected: shape by plain name.
            rename: maps the plain name of a missing tensor to its name in the file.

        Raises:
            CheckpointError: if they differ; the text says the file, the keys, what was expected, what was found, and
                what to do.
        """
        problems = [
            f"{self.names[name]!r} has shape {tuple(self.tensors[name].shape)}, expected {tuple(shape)}"
            for name, shape in expected.items()
            if name in self.tensors and self.tensors[name].shape != shape
        ]
        missing = [f"{rename(n)} {tuple(s)}" for n, s in expected.items() if n not in self.tensors]
        surplus = [
            f"{self.names[name]} {tuple(t.shape)}" for name, t in self.tensors.items() if name not in expected
        ]
        problems += [f"missing keys: {_listed(missing)}"] if missing else []
        problems += [f"surplus keys: {_listed(surplus)}"] if surplus else []
        problems += [
            f"{self.names[name]!r} holds {str(t.dtype).removeprefix('torch.')}, expected floating-point numbers"
            for name, t in self.tensors.items()
            if not t.is_floating_point()
        ][:3]
        problems += [
            f"{self.names[name]!r} is a sparse tensor, expected a dense one"
            for name, t in self.tensors.items()
            if t.layout != torch.strided
        ][:3]
        if problems:
            more = f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
            raise CheckpointError(
                f"{self.path}: {'; '.join(problems[:4])}{more}. The file is incomplete, altered or has another layout: "
                "download it again, or look into it with `codistill inspect`."
            )
        self.check_values()

    def check_values(self) -> None:
        """Check that all values are finite: with any other, a network's output would be wrong everywhere.

        Raises:
            CheckpointError: if some are not; the text names the first tensor.
        """
        check_finite({self.names[name]: tensor for name, tensor in self.tensors.items()}, str(self.path))


def check_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Check that all values are finite.

    Args:
        tensors: by name.
        where: the file or model, for the error.

    Raises:
        CheckpointError: if some are not; the text names the first tensor.
    """
    for name, tensor in tensors.items():
        if not _is_finite(tensor):
            raise CheckpointError(
                f"{where}: {name!r} holds values that are not finite. Its training diverged, or the file was changed: "
                "train it again, with a smaller learning rate if it diverged, or copy the file again"
            )


def _plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _plain_names(state: Mapping[Any, Any]) -> set[str]:
    """Plain names of the tensors of a state dict."""
    return {_plain(str(key)) for key, value in state.items() if isinstance(value, Tensor)}


def _is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite; a tensor without values (meta device) counts as finite."""
    if tensor.is_meta or not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    wide = tensor if tensor.element_size() > 1 else tensor.float()  # no kernels for fp8
    return all(
        bool(bound.isfinite()) for bound in wide.aminmax()
    )  # NaN propagates; isfinite() copies the tensor


def _listed(names: Iterable[str], most: int = 5) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
