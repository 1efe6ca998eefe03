"""Text encoders, for class names and captions: texts in, one vector each in the space of an image encoder out.

    hf:ORG/REPO, hf:FOLDER             CLIP, SigLIP, SigLIP 2 and the like of transformers   (extra `hf`)
    open_clip:NAME[,pretrained=TAG]    of open_clip, also for image towers that timm has     (extra `text`)

Texts are prepared as each family was trained: for SigLIP they are padded to the encoder's length; for SigLIP 2 they are
also converted to lower case, and punctuation is removed. Code in a repository is never run.
"""

import string
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from codistill.encoders.hf_loading import PREFIX as HF
from codistill.encoders.hf_loading import cannot_load, import_transformers, load_model, source_of
from codistill.errors import CheckpointError, ConfigError, MissingExtraError
from codistill.weights.cache import is_offline

OPEN_CLIP = "open_clip:"
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class TextTower(ABC):
    """A frozen text encoder.

    Attributes:
        name: as the user gave it.
        image_encoder: name, for `load_encoder`, of the image encoder that shares its space; "" where it is unknown.
    """

    name: str
    image_encoder: str = ""

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> Float[Tensor, "text channel"]:
        """One vector per text, fp32, not normalized."""


class HfText(TextTower):
    """The text half of a model of transformers.

    Args:
        model: a model with `get_text_features`.
        tokenizer: the tokenizer of the same repository.
        repo: name or folder of the repository.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, repo: str) -> None:
        self.model, self.tokenizer = model.float().eval().requires_grad_(False), tokenizer
        self.name = self.image_encoder = f"{HF}{repo}"
        config: Any = model.config
        self.family = str(config.model_type)
        self.length = getattr(getattr(config, "text_config", config), "max_position_embeddings", None)

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """(text, channel), fp32, by the model's own projection into the shared space."""
        siglip = self.family.startswith("siglip")
        if self.family.startswith("siglip2"):
            texts = [text.lower().translate(_NO_PUNCTUATION) for text in texts]
        inputs = self.tokenizer(
            list(texts),
            padding="max_length" if siglip else True,
            truncation=True,
            max_length=self.length,
            return_tensors="pt",
        )
        wanted = ("input_ids",) if siglip else ("input_ids", "attention_mask")
        found: Any = self.model.get_text_features(**{key: inputs[key] for key in wanted if key in inputs})  # type: ignore[operator]
        return (found if isinstance(found, Tensor) else found.pooler_output).float()


class OpenClipText(TextTower):
    """The text half of a model of open_clip.

    Args:
        model: a model with `encode_text`.
        tokenize: function from texts to token ids.
        name: as the user gave it.
    """

    def __init__(self, model: nn.Module, tokenize: Callable[[list[str]], Tensor], name: str) -> None:
        self.model, self.tokenize = model.float().eval().requires_grad_(False), tokenize
        self.name = name

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """(text, channel), fp32, by the model's `encode_text`."""
        return self.model.encode_text(self.tokenize(list(texts))).float()  # type: ignore[operator]


def load_text_tower(what: str) -> TextTower:
    """Load a text encoder by name.

    Raises:
        ConfigError: for another kind of name, or a model without a text encoder.
        CheckpointError: if it cannot be loaded.
        MissingExtraError: if its library is not installed.
    """
    for prefix, load in ((HF, _hf), (OPEN_CLIP, _open_clip)):
        if what.startswith(prefix):
            return load(what.removeprefix(prefix))
    raise ConfigError(
        f"a text tower is called {HF}ORG/REPO (or a folder), or {OPEN_CLIP}NAME,pretrained=TAG; got {what!r}"
    )


def _hf(repo: str) -> TextTower:
    transformers = import_transformers(repo)
    model = load_model(transformers, repo, pooled=True)
    if not hasattr(model, "get_text_features"):
        raise ConfigError(
            f"{HF}{repo}: {type(model).__name__} has no text tower that shares a space with images; CLIP and SigLIP do"
        )
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source_of(repo), local_files_only=is_offline())
    except Exception as error:  # a damaged file raises many kinds
        raise cannot_load(repo, error) from error
    return HfText(model, tokenizer, repo)


def _open_clip(text: str) -> TextTower:
    name, _, rest = text.partition(",")
    key, _, tag = rest.partition("=")
    if rest and (key != "pretrained" or not tag):
        raise ConfigError(f"{OPEN_CLIP}{text}: the only option is pretrained=TAG")
    try:
        import open_clip  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError("open_clip_torch", "text", f"{OPEN_CLIP}{text}") from error
    try:
        model, _, _ = open_clip.create_model_and_transforms(name, pretrained=tag or None)
        tokenize = open_clip.get_tokenizer(name)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"{OPEN_CLIP}{text}: cannot be loaded ({_first_line(error)})") from error
    return OpenClipText(model, tokenize, f"{OPEN_CLIP}{text}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
