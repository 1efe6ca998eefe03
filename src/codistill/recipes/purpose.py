"""Check the licences of a recipe's teachers against its declared use. Only names, runs and exports are read."""

import os
from pathlib import Path

from codistill.encoders.hf_loading import PREFIX as HF
from codistill.encoders.load import REGISTER
from codistill.encoders.network import network_name
from codistill.encoders.options import FILE_OPTIONS, split_options, split_precision
from codistill.encoders.published import resolve_published
from codistill.encoders.timm_model import PREFIX as TIMM
from codistill.errors import CheckpointError, ConfigError
from codistill.files.json_files import read_json
from codistill.recipes.recipe import Recipe
from codistill.weights.export import CONFIG
from codistill.weights.known import find_known
from codistill.weights.licences import licences_of, permits_commercial
from codistill.weights.run import DESCRIBE
from codistill.weights.shipped import find_shipped

_OPTIONS = (*FILE_OPTIONS, REGISTER, "projector")


def check_purpose(recipe: Recipe) -> None:
    """Refuse teachers and initial weights whose licence does not allow the recipe's declared use.

    Teachers whose runs do not exist yet are not checked: their own runs refuse their teachers.

    Raises:
        ConfigError: names the weights and the licence, and says what to change.
    """
    if recipe.use == "any":
        return
    named = {f"teacher {teacher.name!r}": teacher.encoder or teacher.name for teacher in recipe.teachers}
    if recipe.student.init:
        named["student.init"] = recipe.student.init
    if recipe.student.network:
        name, pretrained = network_name(recipe.student.network)
        if pretrained:
            named["student.network"] = f"{TIMM}{name}"
    for what, text in named.items():
        found = stated_licence(text)
        if found is None:
            continue
        licence, allowed = found
        if allowed is not True:
            why = "forbids it" if allowed is False else "is not known to allow it"
            raise ConfigError(
                f"the recipe declares use = commercial, but the licence of {what} ({text}) {why}: "
                f"{'; '.join(licences_of(licence))}. Choose other weights, or declare use = any and keep to it."
            )


def stated_licence(text: str) -> tuple[str, bool | None] | None:
    """Return an encoder's licence and whether it allows commercial use (None: not known); None if it does not exist."""
    text, _ = split_precision(os.path.expandvars(text))
    if text.startswith("random:"):
        return "none (random weights)", True
    if text.startswith(HF):
        return "unknown", None
    path = Path(text).expanduser()
    if not path.exists() and find_shipped(text.partition(",")[0]) is None:
        text = resolve_published(text)
    if text.startswith(TIMM):
        licence = _of_timm(text.removeprefix(TIMM))
        return licence, permits_commercial(licence)
    if not path.exists():
        text, _ = split_options(text, _OPTIONS)
        path = find_shipped(text) or Path(text).expanduser()
    if not path.exists():
        known = find_known(text)
        if known is not None:
            return known.licence, known.commercial
        return None if text.startswith(("runs/", "/", ".", "~")) else ("unknown", None)
    licence = _of_folder(path)
    return licence, permits_commercial(licence)


def _of_folder(path: Path) -> str:
    """Read the licence from the description of a run, checkpoint or export."""
    for file in (path / DESCRIBE, path / CONFIG, path.parent.parent / DESCRIBE):
        if file.is_file():
            try:
                return str(read_json(file).get("licence", "unknown"))
            except CheckpointError:
                return "unknown"
    return "unknown"


def _of_timm(name: str) -> str:
    """Read the licence from timm's metadata; "unknown" without timm."""
    try:
        import timm
    except ImportError:
        return "unknown"
    name, options = split_options(name, ("pretrained", "summary", "mean", "std"))
    if options.get("pretrained") is False:
        return "none (random weights)"
    metadata = timm.get_pretrained_cfg(name)
    return str(getattr(metadata, "license", None) or "unknown")
