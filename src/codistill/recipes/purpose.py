"""Check the licences of a recipe's teachers against its declared use. Only names, runs and exports are read."""

import os
from pathlib import Path

from codistill.encoders.options import split_options
from codistill.encoders.timm_model import PREFIX as TIMM
from codistill.errors import CheckpointError, ConfigError
from codistill.files.json_files import read_json
from codistill.recipes.recipe import Recipe
from codistill.weights.export import CONFIG
from codistill.weights.known import find_known
from codistill.weights.licences import licences_of, permits_commercial
from codistill.weights.run import DESCRIBE


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
    text = os.path.expandvars(text)
    if text.startswith("random:"):
        return "none (random weights)", True
    if text.startswith(TIMM):
        licence = _of_timm(text.removeprefix(TIMM))
        return licence, permits_commercial(licence)
    path = Path(split_options(text)[0] if not Path(text).exists() else text).expanduser()
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
