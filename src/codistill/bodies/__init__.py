"""Body models: rotations and shape in, vertices and joints out."""

from codistill.bodies.base import BodyModel
from codistill.bodies.load import BODIES, load_body

__all__ = ["BODIES", "BodyModel", "load_body"]
