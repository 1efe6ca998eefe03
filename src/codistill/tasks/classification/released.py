"""Read DINOv2's released classifiers of whole images: a linear map of class tokens and the mean patch token.

Source: DINOv2 (arXiv 2304.07193). `*_linear_head.pth` reads the last block, `*_linear4_head.pth` the last four. Neither
names its classes; they are those of ImageNet-1k.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from codistill.errors import CheckpointError, ConfigError
from codistill.tasks.classification.bank import ImageVectors
from codistill.tasks.shared.features import FrozenFeatures
from codistill.weights.read import read_checkpoint

VECTORS = ImageVectors(kind="cls+mean")
IMAGENET = "imagenet1k"


@dataclass(frozen=True, kw_only=True)
class ReleasedClasses:
    """Classes of a released file, which does not name them.

    Attributes:
        classes: names of a released classifier's classes: `imagenet1k`, a JSON list, or a text file with one name per
            line.
    """

    classes: str | None = None


def read_classifier(path: Path, features: FrozenFeatures) -> dict[str, Tensor]:
    """Read `weight` (class, channel) and `bias` (class,) of a released file.

    Raises:
        CheckpointError: if the file holds no classifier.
        ConfigError: if the classifier takes vectors of another length than the features give.
    """
    found = read_checkpoint(path)
    tensors = {name: found[name] for name in ("weight", "bias") if isinstance(found.get(name), Tensor)}
    if (
        len(tensors) != 2
        or tensors["weight"].ndim != 2
        or tensors["weight"].shape[:1] != tensors["bias"].shape
    ):
        raise CheckpointError(
            f"{path}: holds no classifier. Expected `weight` (class, channel) and `bias` (class,), as in DINOv2's "
            "`*_linear_head.pth`."
        )
    given, wanted = VECTORS.channels(len(features.config.blocks), features), tensors["weight"].shape[1]
    if given != wanted:
        raise ConfigError(
            f"{path} reads vectors of {wanted} channels (class tokens and the mean patch); {features.config.encoder} "
            f"with blocks {','.join(map(str, features.config.blocks))} gives {given}. A *_linear4_head.pth needs the "
            "last four blocks; or project into its encoder's space (projector, denormalize)."
        )
    return {name: tensor.float() for name, tensor in tensors.items()}


def class_names(said: str | None, count: int, path: Path) -> tuple[str, ...]:
    """Names of a released classifier's classes; `class 0`, `class 1`, … if the user names none.

    Of classes with one name, as in common lists of ImageNet's (crane, maillot), each gets its number behind it.

    Raises:
        ConfigError: if the names cannot be read, or their number differs from the number of classes.
    """
    if said is None:
        return tuple(f"class {number}" for number in range(count))
    names = _imagenet() if said == IMAGENET else _names_in(Path(said))
    if len(names) != count:
        raise ConfigError(f"{path} tells {count} classes apart, {said} names {len(names)}")
    times = Counter(names)
    return tuple(name if times[name] == 1 else f"{name} ({number})" for number, name in enumerate(names))


def _imagenet() -> tuple[str, ...]:
    from torchvision.models import ResNet50_Weights  # imports PyTorch's compiler, which takes seconds

    return tuple(ResNet50_Weights.DEFAULT.meta["categories"])


def _names_in(file: Path) -> tuple[str, ...]:
    try:
        text = file.expanduser().read_text(encoding="utf-8")
        names = json.loads(text) if file.suffix == ".json" else text.split("\n")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file}: names of classes cannot be read ({error}). Give {IMAGENET}, a JSON list, or a text file"
        ) from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{file}: expected a list of names")
    stripped = [name.strip() for name in names]
    return tuple(stripped[:-1] if stripped and not stripped[-1] else stripped)
