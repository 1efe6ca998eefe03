"""Input normalization of a transformers model: its image processor's file in, mean and std for pixels in [0, 1] out.

A processor multiplies 8-bit values by `rescale_factor` if `do_rescale`, then normalizes if `do_normalize`. The
processor of a model that normalizes internally (RADIO, TIPSv2) does not. Missing values are the defaults of the
processor's class.
"""

import json
import logging
import math
from pathlib import Path
from types import ModuleType
from typing import Any

from codistill.errors import CheckpointError, ConfigError
from codistill.types import IMAGENET_MEAN, IMAGENET_STD
from codistill.weights.cache import is_offline

LOGGER = logging.getLogger("codistill")
RAW_PIXELS = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Mean and std of a model that takes pixels in [0, 1]."""

Normalization = tuple[tuple[float, ...], tuple[float, ...]]


def normalization(
    transformers: ModuleType, source: str, config: Any, stated: dict[str, Any], normalizes_inside: bool
) -> Normalization:
    """Mean and std that turn pixels in [0, 1] into the model's input.

    Args:
        transformers: the library.
        source: repository or folder.
        config: the model's configuration.
        stated: `mean` and `std` from the caller, which override everything.
        normalizes_inside: whether the model subtracts its own mean.

    Raises:
        CheckpointError: for a damaged file or impossible values.
        ConfigError: for a processor with other operations.
    """
    if len(stated) == 1:
        raise ConfigError(f"hf:{source}: mean and std belong together; only {next(iter(stated))} was given")
    if stated:
        return stated["mean"], stated["std"]
    said = processor_file(transformers, source)
    if said is None:
        default = _default_processor(transformers, str(getattr(config, "model_type", "")))
        if normalizes_inside or getattr(default, "do_normalize", True) is False:
            return RAW_PIXELS
        LOGGER.warning(
            "hf:%s: has no preprocessor_config.json with its mean and std; ImageNet's are used. If it was trained with "
            "others, give them: hf:%s,mean=0.5/0.5/0.5,std=0.5/0.5/0.5",
            *(source, source),
        )
        return IMAGENET_MEAN, IMAGENET_STD
    return _of_processor(transformers, source, said, str(getattr(config, "model_type", "")))


def _of_processor(
    transformers: ModuleType, source: str, said: dict[str, Any], model_type: str
) -> Normalization:
    name = said.get("image_processor_type") or said.get("feature_extractor_type")
    processor = _instance(transformers, name) if name else _default_processor(transformers, model_type)

    def word(key: str, otherwise: Any) -> Any:
        value = said[key] if key in said else getattr(processor, key, None)
        return otherwise if value is None else value

    if word("rescale_offset", False) or word("include_top", False):
        raise ConfigError(
            f"hf:{source}: its processor shifts or scales twice (rescale_offset, include_top), which is not supported. "
            "Give the resulting mean and std of pixels in [0, 1]: ,mean=…,std=…"
        )
    factor = word("rescale_factor", 1 / 255) if word("do_rescale", True) else 1.0
    if not isinstance(factor, (int, float)) or not 0 < factor < math.inf:
        raise CheckpointError(
            f"hf:{source}: rescale_factor {factor!r} of its processor is no positive number"
        )
    mean, std = RAW_PIXELS
    if word("do_normalize", True):
        mean = _three(source, "image_mean", word("image_mean", None))
        std = _three(source, "image_std", word("image_std", None))
        if min(std) <= 0:
            raise CheckpointError(f"hf:{source}: image_std {std} of its processor is not positive")
    scale = 255 * factor
    if math.isclose(scale, 1.0, rel_tol=1e-4):
        return mean, std
    return tuple(m / scale for m in mean), tuple(s / scale for s in std)


def _three(source: str, key: str, value: Any) -> tuple[float, ...]:
    plain: Any = value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        plain = [value] * 3
    good = isinstance(plain, (list, tuple)) and len(plain) == 3
    if not good or not all(isinstance(x, (int, float)) and math.isfinite(x) for x in plain):
        raise CheckpointError(
            f"hf:{source}: {key} of its processor must be three numbers; got {value!r}. Give it: ,mean=…,std=…"
        )
    return tuple(float(x) for x in plain)


def _default_processor(transformers: ModuleType, model_type: str) -> Any:
    """The processor that transformers uses by default for this type of model; None where it has none."""
    try:
        names = transformers.models.auto.image_processing_auto.IMAGE_PROCESSOR_MAPPING_NAMES.get(model_type)
    except AttributeError:
        return None
    if isinstance(names, dict):
        names = list(names.values())
    for name in (names,) if isinstance(names, str) else names or ():
        if name and (found := _instance(transformers, name)) is not None:
            return found
    return None


def _instance(transformers: ModuleType, name: Any) -> Any:
    """A processor of a named class with its defaults; None where it cannot be made."""
    try:
        return getattr(transformers, str(name))()
    except Exception:  # a class that needs arguments or packages: only the file is used then
        return None


def processor_file(transformers: ModuleType, source: str) -> dict[str, Any] | None:
    """The image processor's configuration in a repository or folder; None if missing.

    Raises:
        CheckpointError: for a damaged file.
    """
    for filename in ("preprocessor_config.json", "processor_config.json"):
        text = text_file(transformers, source, filename)
        if not text:
            continue
        try:
            said = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"hf:{source}: damaged {filename} ({error})") from error
        if not isinstance(said, dict):
            raise CheckpointError(
                f"hf:{source}: {filename} holds a {type(said).__name__}, expected an object"
            )
        said = said.get("image_processor", said if filename.startswith("pre") else None)
        if isinstance(said, dict):
            return said
    return None


def text_file(transformers: ModuleType, source: str, filename: str) -> str:
    """Content of a text file of the model; empty where it has no such file."""
    try:
        path = transformers.utils.cached_file(source, filename, local_files_only=is_offline())
        return Path(path).read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError):
        return ""
