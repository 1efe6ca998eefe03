"""Body models by name."""

from collections.abc import Callable

from codistill.bodies.anny import AnnyBody
from codistill.bodies.base import BodyModel
from codistill.bodies.tiny import TinyBody
from codistill.errors import ConfigError, unknown_name

BODIES: dict[str, Callable[[], BodyModel]] = {"anny": AnnyBody, "tiny": TinyBody}


def load_body(name: str) -> BodyModel:
    """A body model of `BODIES`; the first Anny on a machine takes minutes to build.

    Raises:
        ConfigError: for an unknown name.
        MissingExtraError: if its package is not installed.
    """
    if name not in BODIES:
        raise ConfigError(unknown_name("body model", name, BODIES))
    return BODIES[name]()
