"""Encoders for `torch.hub.load("OWNER/codistill", NAME)`, or `torch.hub.load(FOLDER, NAME, source="local")`.

Every known encoder is an entry point (`torch.hub.list` names them; licences: `codistill inspect`), and `load_encoder`
takes whatever the library's own function takes. Entry points return an `Encoder`, frozen and in evaluation mode:
ImageNet-normalized images in, `Tokens` out; it also has DINOv2's and timm's methods.
"""

import importlib.util as _util
import sys as _sys
from functools import partial as _partial
from pathlib import Path as _Path

dependencies = [
    "torch",
    "torchvision",
    "numpy",
    "safetensors",
    "PIL",
    "cv2",
    "yaml",
    "rich",
    "jaxtyping",
    "filelock",
]

if _util.find_spec("codistill") is None:  # a clone that is not installed
    _sys.path.insert(0, str(_Path(__file__).parent / "src"))

from codistill.encoders.load import load_encoder  # noqa: E402
from codistill.weights.known import KNOWN as _KNOWN  # noqa: E402


def _entry(name: str, licence: str, homepage: str):
    load = _partial(load_encoder, name)
    load.__doc__ = f"{name}, licence of the weights: {licence}, see {homepage}. Options as of load_encoder."
    load.__name__ = name
    return load


for _known in _KNOWN.values():
    if _known.content != "two-view decoder":
        globals()[_known.name.replace("-", "_")] = _entry(_known.name, _known.licence, _known.homepage)
