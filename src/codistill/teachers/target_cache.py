"""Raw targets on disk, so that trainings which show a teacher the same images compute its tokens once.

    build_bank(recipe, …, cache=TargetCache(Path("targets")))

For ablations: trainings with one seed, one set of sources and one augmentation see the same images in the same order,
whatever is changed in the student, its projectors or the loss. An entry is found by all that its tokens depend on: the
pixels, the teacher's architecture, weights and use, the precision, the device and PyTorch's version. The first entry
of each teacher that is found is computed as well, and compared.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from codistill.encoders.fingerprint import encoder_fingerprint
from codistill.errors import DataError, WriteError
from codistill.files.processor import processor_name
from codistill.files.tensors import write_tensors
from codistill.files.writing import check_writable
from codistill.teachers.teacher import Teacher
from codistill.teachers.views import StepViews
from codistill.types import Tokens

_LOG = logging.getLogger(__name__)
_TENSORS = ("patches", "cls")
_CHECKSUM = "sha256"
_ROUNDING = 0.02
"""Largest difference of tokens on a GPU, relative to their norm: some steps of bf16."""


class TargetCache:
    """A folder of raw targets, one file per batch and teacher; several processes can use it at once.

    Args:
        folder: created if missing. Nothing is ever removed from it; an image takes the bytes of its tokens.

    Attributes:
        found, computed: number of batches, summed over teachers, that were read and computed.
    """

    def __init__(self, folder: Path) -> None:
        check_writable(folder)
        self.folder = folder
        self.found = self.computed = 0
        self._teachers: dict[str, str] = {}  # a teacher's name → hash of what does not change between batches
        self._compared: set[str] = set()
        self._full = False

    def tokens(
        self,
        teacher: Teacher,
        images: Tensor,
        student_patch: int,
        views: StepViews | None,
        compute: Callable[[], Tokens],
    ) -> Tokens:
        """Read a teacher's targets of some images, or compute and keep them; takes the arguments of `Teacher.forward`.

        Raises:
            DataError: if the targets that are kept differ from those that this version of the library computes.
        """
        path = self._path(teacher, images, student_patch, views)
        kept = _read(path, images.device)
        name = teacher.config.name
        if kept is None:
            self.computed += 1
            made = compute()
            self._keep(path, made)
            return made
        if name not in self._compared:
            _compare(kept, compute(), name, self.folder)
            self._compared.add(name)
        self.found += 1
        return kept

    def _path(self, teacher: Teacher, images: Tensor, student_patch: int, views: StepViews | None) -> Path:
        name = teacher.config.name
        if name not in self._teachers:
            self._teachers[name] = _digest(_description(teacher))
        seen = {
            "teacher": self._teachers[name],
            "shape": [*images.shape],
            "dtype": str(images.dtype),
            "pixels": hashlib.sha256(_content(images)).hexdigest(),
            "patch": student_patch,
            "views": None if views is None else _window(views, name),
            **_computed(images.device),
        }
        key = _digest(seen)
        return self.folder / self._teachers[name][:16] / key[:2] / f"{key}.safetensors"

    def _keep(self, path: Path, tokens: Tokens) -> None:
        if self._full:
            return
        tensors = {key: value for key in _TENSORS if (value := getattr(tokens, key)) is not None}
        header = {
            "grid": json.dumps(tokens.grid),
            "normed": json.dumps(tokens.normed),
            _CHECKSUM: _checksum(tokens),
        }
        try:
            write_tensors(path, tensors, header)
        except WriteError as error:
            self._full = True
            _LOG.warning("the training goes on, but no more targets are kept: %s", error)


def _description(teacher: Teacher) -> dict[str, Any]:
    """What a teacher's tokens depend on besides its images."""
    config, found = teacher.config, encoder_fingerprint(teacher.encoder)
    return {
        "class": f"{type(teacher.encoder).__module__}.{type(teacher.encoder).__qualname__}",
        "architecture": found.architecture,
        "weights": found.weights,
        "norm": config.norm,
        "sizes": config.own_sizes,
        "mosaic": config.mosaic,
        "precision": [config.precision, str(teacher.autocast_dtype)],
        "compiled": any(getattr(part, "_compiled_call_impl", None) is not None for part in teacher.modules()),
    }


def _window(views: StepViews, name: str) -> list[Any]:
    """What a teacher sees of a step's crops."""
    return [
        views.shift(name),
        views.sizes.get(name),
        views.tokens,
        views.pitch,
        views.margin,
        views.own_grids,
    ]


def _computed(device: torch.device) -> dict[str, Any]:
    """How this process computes: rounding differs between processors, and between numbers of threads."""
    cuda = device.type == "cuda"
    autocast = torch.is_autocast_enabled(device.type)
    return {
        "device": torch.cuda.get_device_name(device) if cuda else processor_name(),
        "threads": 0 if cuda else torch.get_num_threads(),
        "torch": torch.__version__,
        "autocast": str(torch.get_autocast_dtype(device.type)) if autocast else "",
    }


def _digest(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _content(tensor: Tensor) -> memoryview:
    return tensor.detach().contiguous().cpu().view(-1).view(torch.uint8).numpy().data


def _checksum(tokens: Tokens) -> str:
    """Hash of tokens, which safetensors files do not contain: damaged numbers would be read as they are."""
    found = hashlib.sha256(json.dumps([tokens.grid, tokens.normed]).encode())
    for key in _TENSORS:
        if (tensor := getattr(tokens, key)) is not None:
            found.update(_content(tensor))
    return found.hexdigest()


def _read(path: Path, device: torch.device) -> Tokens | None:
    """Read an entry; None if there is none, or only a damaged one."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
        rows, columns = json.loads(header["grid"])
        tokens = Tokens(grid=(rows, columns), normed=json.loads(header["normed"]), **tensors)
        checksum = _checksum(tokens)
        if header.get(_CHECKSUM, checksum) != checksum:  # early entries have none
            raise ValueError("its checksum differs")
        return tokens.map(lambda tensor: tensor.to(device))
    except FileNotFoundError:
        return None
    except Exception as error:  # safetensors raises many kinds; a damaged entry is made again
        _LOG.warning("%s is damaged (%s): its targets are computed again", path, error)
        return None


def _compare(kept: Tokens, made: Tokens, name: str, folder: Path) -> None:
    pairs = [(getattr(kept, key), getattr(made, key)) for key in _TENSORS]
    if kept.grid != made.grid or not all(
        a is b if a is None or b is None else _alike(a, b) for a, b in pairs
    ):
        raise DataError(
            f"{folder} holds other targets of teacher {name!r} than are computed now, for the same images: another "
            "version of codistill wrote them. Delete the folder, or name another (--target-cache)."
        )


def _alike(kept: Tensor, made: Tensor) -> bool:
    """Whether two tensors are equal; on a GPU, up to the rounding of kernels, which are chosen anew in each process."""
    if not made.is_cuda or kept.shape != made.shape:
        return torch.equal(kept, made)
    kept, made = kept.float(), made.float()
    return bool((kept - made).norm() <= _ROUNDING * made.norm())
