"""`random:SIZE,option=value,…`: encoders with seeded random weights, for tests and demos.

The weights are the same on every machine. They need no file and no network, and replace teachers in demos. Example:
`random:vit_tiny,patch_size=16,seed=3`.
"""

from typing import Any

from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError, unknown_name
from codistill.nn.seeded import seeded
from codistill.nn.vit import vit_config

_INTEGERS = (
    "seed",
    "patch_size",
    "image_size",
    "num_registers",
    "dim",
    "depth",
    "num_heads",
    "window",
    "num_global",
)
_CHOICES = {"position": ("learned", "rope")}


def _options(text: str) -> dict[str, int | str]:
    options: dict[str, int | str] = {}
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        if key in options:
            raise ConfigError(f"random encoder: option {key} is given twice in {text!r}")
        if key in _INTEGERS and value.isdecimal():
            options[key] = int(value)
        elif key in _CHOICES and value in _CHOICES[key]:
            options[key] = value
        else:
            problem = f"{part!r} is not an option with a value it takes"
            hint = unknown_name("option", key, [*_INTEGERS, *_CHOICES]) if key not in _INTEGERS else ""
            raise ConfigError(
                f"random encoder: {problem}. {hint} Example: random:vit_tiny,patch_size=16,seed=3"
            )
    if "num_global" in options and not options.get("window"):
        raise ConfigError("random encoder: num_global would have no effect without window=N, tokens per side")
    return options


def seeded_encoder(text: str, **given: Any) -> ViTEncoder:
    """Build the encoder of `random:SIZE,…` (with or without the prefix); its weights depend only on the text.

    Raises:
        ConfigError: for an unknown size or option, or one given outside the text.
    """
    if given:
        said = ", ".join(f"{key}={value}" for key, value in given.items())
        raise ConfigError(
            f"{said} cannot be given for random: encoders: their text says all, e.g. {text},seed=1"
        )
    size, _, rest = text.removeprefix("random:").partition(",")
    options = _options(rest)
    seed = int(options.pop("seed", 0))
    config = vit_config(size, **{"image_size": 16 * int(options.get("patch_size", 14)), **options})
    with seeded(seed):
        encoder = ViTEncoder(
            config, name=f"random:{size},{rest}".rstrip(","), licence="none (random weights)"
        )
    return encoder.eval()
