"""`hf:org/repo` or `hf:FOLDER`: a vision model of the transformers library as an encoder (extra `hf`).

Vision transformers give their class and register tokens and intermediate blocks. Networks whose output is a map give it
as patches, with their stride as the patch size. The normalization comes from the image processor's file, the licence
from the model card. Code in a repository is never run. Options: `summary=…` (see `summary`), `mean`, `std`.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

from codistill.encoders.hf_input import normalization, text_file
from codistill.encoders.hf_loading import PREFIX, import_transformers, load_model, source_of
from codistill.encoders.hf_model import HfEncoder, forward_parameters
from codistill.encoders.options import as_options, split_options
from codistill.errors import ConfigError
from codistill.files.yaml_text import parse_yaml

OPTIONS = ("summary", "mean", "std")
INSIDE = ("vision_model", "vision_encoder", "vision_tower")
"""Attributes that hold the image encoder in models that combine images with text or prompts."""


def hf_encoder(text: str, **given: Any) -> HfEncoder:
    """Load the encoder of `hf:org/repo` or `hf:FOLDER`, with options.

    Raises:
        MissingExtraError: if transformers is not installed.
        CheckpointError: if the model cannot be found or loaded, or its weights are incomplete.
        ConfigError: if it is not a vision model of a supported kind.
    """
    repo = text.removeprefix(PREFIX)
    exists = Path(repo).expanduser().is_dir()
    repo, options = (repo, {}) if exists else split_options(repo, OPTIONS)
    options |= as_options(OPTIONS, **given)
    transformers, source = import_transformers(repo), source_of(repo)
    whole = load_model(transformers, repo, pooled=options.get("summary") in ("pooled", "projected"))
    model = whole
    if "pixel_values" not in forward_parameters(whole) or "input_ids" in forward_parameters(whole):
        model = next((part for name in INSIDE if (part := getattr(whole, name, None)) is not None), whole)
    if "pixel_values" not in forward_parameters(model):
        videos = "pixel_values_videos" in forward_parameters(model)
        why = "takes videos (pixel_values_videos), not images" if videos else "takes no images (pixel_values)"
        raise ConfigError(
            f"hf:{repo}: {type(model).__name__} {why}: name a vision model, or wrap it yourself: "
            "codistill.register_encoder with FunctionEncoder"
        )
    if getattr(model.config, "model_type", "") == "timm_wrapper":
        raise ConfigError(
            f"hf:{repo}: holds a model of timm: load it as timm:{'local-dir' if exists else 'hf-hub'}:{repo}"
        )
    if getattr(model.config, "mask_ratio", None) is not None:
        config: Any = model.config
        config.mask_ratio = 0.0  # masking belongs to pre-training; an encoder sees the whole image
    stated = {key: value for key, value in options.items() if key in ("mean", "std")}
    mean, std = normalization(transformers, source, model.config, stated, hasattr(model, "input_conditioner"))
    return HfEncoder(
        model.float(),
        name=f"{PREFIX}{repo}",
        licence=_licence(transformers, source),
        mean=mean,
        std=std,
        summary=options.get("summary"),
        projection=getattr(whole, "visual_projection", None),
    )


def _licence(transformers: ModuleType, source: str) -> str:
    """The licence in the metadata of the model card."""
    text = text_file(transformers, source, "README.md")
    if not text.startswith("---"):
        return "unknown"
    try:
        head = parse_yaml(text.split("---")[1])
    except ValueError:
        return "unknown"
    said = head.get("license") if isinstance(head, dict) else None
    return str(said) if said else "unknown"
