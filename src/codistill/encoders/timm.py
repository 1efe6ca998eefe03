"""`timm:NAME[,pretrained=false,…]`: any timm model as an encoder (extra `timm`).

Vision transformers give their class and register tokens and intermediate blocks, at any image size that the model
allows. Other networks give their last feature map, whose stride becomes the patch size. Normalization, size and licence
come from timm's own metadata. Options: `pretrained`, `summary=cls` or `pooled` (see `summary`), `mean`, `std`.
"""

import difflib
import inspect
import logging
from types import ModuleType
from typing import Any

from torch import nn

from codistill.encoders.options import as_options, split_options
from codistill.encoders.summary import check_summary, no_summary
from codistill.encoders.timm_model import PREFIX, TimmMap, TimmViT
from codistill.errors import CheckpointError, ConfigError, MissingExtraError
from codistill.types import IMAGENET_MEAN, IMAGENET_STD
from codistill.weights.cache import is_offline
from codistill.weights.state import check_finite

LOGGER = logging.getLogger("codistill")
OPTIONS = ("pretrained", "summary", "mean", "std")


def timm_encoder(text: str, **given: Any) -> TimmViT | TimmMap:
    """Load the encoder of `timm:NAME`, with options.

    Raises:
        MissingExtraError: if timm is not installed.
        ConfigError: for an unknown model or option.
        CheckpointError: if its weights cannot be loaded, or are not finite.
    """
    name, options = split_options(text.removeprefix(PREFIX), OPTIONS)
    options |= as_options(OPTIONS, **given)
    pretrained = options.get("pretrained", True)
    summary = check_summary(options.get("summary"), f"{PREFIX}{name}")
    if summary not in (None, "cls", "pooled"):
        raise no_summary(
            summary, f"{PREFIX}{name}", "timm: models give cls and pooled; hf: models also others"
        )
    model = create_model(name, pretrained)
    if pretrained:
        check_finite(model.state_dict(), f"{PREFIX}{name}")
    about = {
        "name": f"{PREFIX}{name}",
        **normalization(name, model, options),
        "licence": network_licence(model) if pretrained else "none (random weights)",
    }
    return (TimmViT if is_transformer(model) else TimmMap)(model, about, summary)


def is_transformer(model: nn.Module) -> bool:
    """Whether a model of timm is a vision transformer with patches, prefix tokens and blocks."""
    forward = getattr(model, "forward_intermediates", None)
    is_vit = forward is not None and "return_prefix_tokens" in inspect.signature(forward).parameters
    has_patches = hasattr(getattr(model, "patch_embed", None) or getattr(model, "embeds", None), "patch_size")
    return is_vit and has_patches and hasattr(model, "blocks")


def network_licence(model: nn.Module) -> str:
    """The licence of a model's weights, from timm's metadata."""
    metadata: Any = getattr(model, "pretrained_cfg", {})
    return str(metadata.get("license") or "unknown")


def ends_in_layer(text: str) -> bool:
    """Whether the weights of `timm:NAME` have a last layer (a projection or a classifier), which encoders leave out."""
    try:
        import timm
    except ImportError:
        return False
    metadata = timm.get_pretrained_cfg(text.removeprefix(PREFIX))
    return bool(getattr(metadata, "num_classes", 0))


def normalization(name: str, model: nn.Module, options: dict[str, Any]) -> dict[str, Any]:
    """Mean, std and native size: the caller's, or else those in timm's metadata."""
    metadata: Any = getattr(model, "pretrained_cfg", {})
    said = {key: tuple(value) for key in ("mean", "std") if (value := metadata.get(key)) is not None}
    said |= {key: options[key] for key in ("mean", "std") if key in options}
    if len(said) < 2:
        LOGGER.warning(
            "timm:%s: its metadata has no mean and std; ImageNet's are used. If it was trained with others, give them: "
            "timm:%s,mean=0.5/0.5/0.5,std=0.5/0.5/0.5",
            *(name, name),
        )
        said = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    return {**said, "image_size": int(metadata.get("input_size", (3, 224, 224))[-1])}


def _import_timm(name: str) -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError("timm", "timm", f"timm:{name}") from error
    return timm


def create_model(name: str, pretrained: bool, **more: Any) -> nn.Module:
    """Build a timm model in evaluation mode, without classifier, at any image size if it supports that.

    Args:
        name: timm's name of the model.
        pretrained: load timm's weights.
        more: arguments of the model.

    Raises:
        MissingExtraError: if timm is not installed.
        ConfigError: for an unknown model, or one that does not take the arguments.
        CheckpointError: if its weights cannot be loaded.
    """
    timm = _import_timm(name)
    if not timm.is_model(name.partition(".")[0]) and not name.startswith(
        ("hf-hub:", "hf_hub:", "local-dir:")
    ):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ConfigError(f"Unknown timm model {name!r}.{hint} timm.list_models('*vit*') lists them.")
    if pretrained and is_offline():
        _go_offline()
    options: dict[str, Any] = {"pretrained": pretrained, "num_classes": 0, **more}
    try:
        try:
            return timm.create_model(name, dynamic_img_size=True, **options).eval()
        except TypeError as error:
            if "dynamic_img_size" not in str(error):
                raise
            return timm.create_model(name, **options).eval()
    except TypeError as error:
        refused = next((key for key in more if key in str(error)), None)
        if refused is None:
            raise
        raise ConfigError(f"timm:{name} does not take {refused}: leave it out") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"timm:{name}: its weights cannot be loaded ({str(error).splitlines()[0][:200]}). Check the network and "
            f"the name, or use random weights: timm:{name},pretrained=false"
        ) from error


def _go_offline() -> None:
    """Set the hub client, which timm uses, to offline mode: only its own cache is searched."""
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True
