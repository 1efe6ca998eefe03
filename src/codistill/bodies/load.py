"""Load body models by name."""

from collections.abc import Callable
from typing import Any

from codistill.bodies.anny import AnnyBody
from codistill.bodies.base import BodyModel
from codistill.bodies.smplx import SmplxBody
from codistill.bodies.tiny import TinyBody
from codistill.errors import ConfigError, unknown_name

BODIES: dict[str, Callable[..., BodyModel]] = {"anny": AnnyBody, "smplx": SmplxBody, "tiny": TinyBody}


def load_body(name: str, **options: Any) -> BodyModel:
    """Load a body model of `BODIES`; the first Anny on a machine takes minutes to build.

    Args:
        name: `anny` (free), `smplx` (from the user's own file, see `SmplxBody`), `tiny` (boxes, for tests).
        options: arguments of the class: SMPL-X takes `path`, `n_shape` and `n_expression`.

    Raises:
        ConfigError: for an unknown name.
        DataError: if SMPL-X's file is missing; the text says how to get it.
        MissingExtraError: if its package is not installed.
    """
    if name not in BODIES:
        raise ConfigError(unknown_name("body model", name, BODIES))
    return BODIES[name](**options)
