"""codistill: distil one vision encoder from several unlike teachers, load the published ones, and use it.

    import codistill
    encoder = codistill.load_encoder("dinov2_vits14")
    tokens = encoder(encoder.preprocess("photo.jpg", size=448))

Names are imported on first use, so that `import codistill` alone is fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codistill.analysis.run import load_run as load_run
    from codistill.deploy.export import export_program as export_program
    from codistill.distill.own_loop import distill_objective as distill_objective
    from codistill.distill.own_loop import distill_step as distill_step
    from codistill.encoders.from_hub import from_pretrained as from_pretrained
    from codistill.encoders.load import load_encoder as load_encoder
    from codistill.encoders.registry import register_encoder as register_encoder
    from codistill.perception.perception import Perception as Perception
    from codistill.student.load import load_student as load_student
    from codistill.types import Batch as Batch
    from codistill.types import EncoderSpec as EncoderSpec
    from codistill.types import Tokens as Tokens
    from codistill.version import __version__ as __version__

_PUBLIC = {
    "__version__": "codistill.version:__version__",
    "load_encoder": "codistill.encoders.load:load_encoder",
    "register_encoder": "codistill.encoders.registry:register_encoder",
    "from_pretrained": "codistill.encoders.from_hub:from_pretrained",
    "export_program": "codistill.deploy.export:export_program",
    "distill_objective": "codistill.distill.own_loop:distill_objective",
    "distill_step": "codistill.distill.own_loop:distill_step",
    "Perception": "codistill.perception.perception:Perception",
    "load_run": "codistill.analysis.run:load_run",
    "load_student": "codistill.student.load:load_student",
    "Tokens": "codistill.types:Tokens",
    "Batch": "codistill.types:Batch",
    "EncoderSpec": "codistill.types:EncoderSpec",
}

__all__ = [
    "Batch",
    "EncoderSpec",
    "Perception",
    "Tokens",
    "__version__",
    "distill_objective",
    "distill_step",
    "export_program",
    "from_pretrained",
    "load_encoder",
    "load_run",
    "load_student",
    "register_encoder",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'codistill' has no attribute {name!r}")
    module, attribute = _PUBLIC[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
