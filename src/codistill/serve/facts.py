"""Describe a perception for clients: encoder, heads, training data, licences, sizes, but no paths of the server."""

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from codistill.imaging.colours import depth_picture
from codistill.serve.answers import kind_of

if TYPE_CHECKING:
    from codistill.perception.perception import Perception

_PRIVATE = frozenset({"path", "paths", "encoder_path"})
_FOLDERS = re.compile(r"(^|[:=,\s])/(?:[^/:,\s]+/)*")
"""Matches the folders of an absolute path; without them, `world:/data/worlds/w` becomes `world:w`."""

RAMP_STEPS = 256


def perception_facts(perception: "Perception") -> dict[str, Any]:
    """Plain values: the encoder, the heads in order with the kind of their answers, and the author's text."""
    described = public(perception.describe())
    heads = [{"name": name, "kind": kind_of(one["task"])} | one for name, one in described["heads"].items()]
    return {"about": described.get("about", ""), "encoder": described["encoder"], "heads": heads}


def depth_ramp() -> str:
    """The colours of depth from near to far, as in all pictures of codistill: `RAMP_STEPS` times RRGGBB."""
    metres = np.exp(np.linspace(0.0, 1.0, RAMP_STEPS))[None]
    return depth_picture(metres, 1.0, math.e).tobytes().hex()


def public(value: Any) -> Any:
    """JSON values without the server's paths; NaN and infinities, which JSON lacks, become null."""
    if isinstance(value, dict):
        return {name: public(one) for name, one in value.items() if name not in _PRIVATE}
    if isinstance(value, list | tuple):
        return [public(one) for one in value]
    if isinstance(value, str):
        return _FOLDERS.sub(r"\1", value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
