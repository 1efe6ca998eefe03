"""Load a model of the transformers library whole: a repository or a folder in, a model without random weights out."""

from pathlib import Path
from types import ModuleType

from torch import nn

from codistill.errors import CheckpointError, ConfigError, MissingExtraError
from codistill.weights.cache import is_offline
from codistill.weights.state import check_finite

PREFIX = "hf:"


def import_transformers(repo: str) -> ModuleType:
    """The library.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "hf", f"{PREFIX}{repo}") from error
    return transformers


def source_of(repo: str) -> str:
    """What transformers calls it: the path of a folder, or else a repository of the hub.

    Raises:
        ConfigError: if there is none.
    """
    if not repo.strip():
        raise ConfigError(f"{PREFIX} names no model: write {PREFIX}ORG/NAME of the hub, or {PREFIX}FOLDER")
    folder = Path(repo).expanduser()
    return str(folder) if folder.is_dir() else repo


def load_model(transformers: ModuleType, repo: str, *, pooled: bool) -> nn.Module:
    """Load a model; code in a repository is never run.

    Args:
        transformers: the library.
        repo: name of the repository, or folder.
        pooled: whether its pooled vector is used; else weights of a pooler may be missing, as they often are.

    Raises:
        CheckpointError: if it cannot be found or loaded, or its files lack weights, or have them in other shapes or
            values that are not finite.
    """
    source = source_of(repo)
    try:
        config = transformers.AutoConfig.from_pretrained(source, local_files_only=is_offline())
        kind = transformers.AutoModel
        if type(config) not in transformers.AutoModel._model_mapping:  # e.g. only the vision half of CLIP
            names = getattr(config, "architectures", None) or ()
            kind = next((found for name in names if (found := getattr(transformers, name, None))), kind)
        model, info = kind.from_pretrained(
            source, local_files_only=is_offline(), output_loading_info=True, ignore_mismatched_sizes=True
        )
    except Exception as error:  # a damaged or foreign file raises many kinds
        raise cannot_load(repo, error) from error
    others = sorted(str(found[0]) for found in info.get("mismatched_keys", ()))
    if others:
        raise CheckpointError(
            f"{PREFIX}{repo}: {len(others)} tensors of its files have other shapes than its config.json says: "
            f"{', '.join(others[:4])} … . They belong to another model."
        )
    missing = sorted(name for name in info.get("missing_keys", ()) if pooled or "pooler" not in name)
    if missing:
        advice = "Leave out summary=, or take" if all("pooler" in name for name in missing) else "Take"
        raise CheckpointError(
            f"{PREFIX}{repo}: its files lack {len(missing)} tensors of a {type(model).__name__}, which would stay "
            f"random: {', '.join(missing[:4])} … . They are incomplete or of another model. {advice} complete files."
        )
    check_finite(model.state_dict(), f"{PREFIX}{repo}")
    return model


def cannot_load(repo: str, error: Exception) -> CheckpointError:
    """The error for a model or a tokenizer that transformers cannot load, with the first line of its reason."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return CheckpointError(
        f"{PREFIX}{repo}: transformers cannot load it ({reason}). Expected a repository ORG/NAME of the hub, or a "
        "folder made by save_pretrained; repositories that bring their own code are not run."
    )
