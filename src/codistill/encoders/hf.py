"""`hf:org/repo` or `hf:FOLDER`: a vision model of the transformers library as an encoder (extra `hf`).

Vision transformers give their class and register tokens and intermediate blocks; networks whose output is a map give
it as patches, with their stride as the patch size. Normalization comes from `preprocessor_config.json`, the licence
from the model card. Code in a repository is never run.
"""

import inspect
import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from torch import Tensor, nn

from codistill.encoders.base import Encoder
from codistill.errors import CheckpointError, ConfigError, MissingExtraError
from codistill.types import IMAGENET_MEAN, IMAGENET_STD, EncoderSpec, Tokens
from codistill.weights.cache import is_offline

PREFIX = "hf:"
MAX_PREFIX_TOKENS = 32
FINAL_NORMS = ("layernorm", "norm", "post_layernorm")
_NO_ARCHITECTURE = ("_name_or_path", "transformers_version", "architectures", "dtype", "id2label", "label2id")


class HfEncoder(Encoder):
    """A transformers vision model.

    Args:
        model: gives `last_hidden_state`, (batch, token, channel) or (batch, channel, row, column).
        name, licence, mean, std: for the spec.

    Raises:
        ConfigError: if its output is neither a map nor patches after a few prefix tokens.
    """

    def __init__(
        self, model: nn.Module, *, name: str, licence: str, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.model = model.eval()
        config: Any = model.config
        self.resizes = "interpolate_pos_encoding" in _parameters(model)
        size = _side(getattr(config, "image_size", None)) or 224
        with torch.no_grad():
            probe = torch.linspace(-1, 1, 3 * size * size).reshape(1, 3, size, size)
            self.final_norm = self._take_final_norm(probe)
            shape = tuple(self._hidden(probe).shape)
        patch, prefix = _token_layout(shape, size, _side(getattr(config, "patch_size", None)), name)
        registers = int(getattr(config, "num_register_tokens", None) or 0)
        has_cls = prefix > registers
        self.spec = EncoderSpec(
            name=name,
            dim=shape[1] if len(shape) == 4 else shape[2],
            patch_size=patch,
            depth=int(getattr(config, "num_hidden_layers", 0) or 0) if len(shape) == 3 else 0,
            has_cls=has_cls,
            num_registers=prefix - int(has_cls),
            image_size=size,
            mean=mean,
            std=std,
            licence=licence,
        )

    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        """Tokens of the last layer."""
        return self._tokens(self._hidden(images), images, norm)

    def encode_blocks(self, images: Tensor, blocks: Sequence[int], norm: bool = True) -> list[Tokens]:
        """Tokens after chosen blocks, in the order given.

        Raises:
            ValueError: for a block that the model does not have.
        """
        depth = self.spec.depth
        if not depth:
            return super().encode_blocks(images, blocks, norm)
        wrong = [block for block in blocks if not -depth <= block < depth]
        if wrong:
            raise ValueError(f"blocks {wrong} do not exist: {self.spec.name} has {depth} (0 to {depth - 1})")
        hidden = self._run(images, output_hidden_states=True).hidden_states[-depth:]
        return [self._tokens(hidden[block % depth], images, norm) for block in blocks]

    def architecture(self) -> dict[str, Any]:
        """Also the model's own configuration, without what only says where it comes from."""
        config: Any = self.model.config
        said = {key: value for key, value in config.to_diff_dict().items() if key not in _NO_ARCHITECTURE}
        return {**super().architecture(), "config": said}

    def _run(self, images: Tensor, **options: Any) -> Any:
        if self.resizes:
            options["interpolate_pos_encoding"] = True
        return self.model(pixel_values=images, **options)

    def _hidden(self, images: Tensor) -> Tensor:
        return self._run(images).last_hidden_state

    def _take_final_norm(self, probe: Tensor) -> nn.Module:
        """Take the final norm out of the model, so that tokens can be had without it too."""
        before = self._hidden(probe)
        for name in FINAL_NORMS:
            norm = getattr(self.model, name, None)
            if not isinstance(norm, nn.Module) or isinstance(norm, nn.Identity):
                continue
            setattr(self.model, name, nn.Identity())
            bare = self._hidden(probe)
            if not torch.equal(bare, before) and torch.equal(norm(bare), before):
                return norm
            setattr(self.model, name, norm)  # it is not the last thing that happens to the tokens
        return nn.Identity()

    def _tokens(self, hidden: Tensor, images: Tensor, norm: bool) -> Tokens:
        if norm:
            hidden = self.final_norm(hidden)
        patch, first = self.spec.patch_size, int(self.spec.has_cls)
        grid = (images.shape[-2] // patch, images.shape[-1] // patch)
        if hidden.ndim == 4:
            return Tokens(patches=hidden.flatten(2).transpose(1, 2), grid=grid, normed=norm)
        last = first + self.spec.num_registers
        return Tokens(
            patches=hidden[:, last:],
            grid=grid,
            cls=hidden[:, 0] if first else None,
            registers=hidden[:, first:last] if self.spec.num_registers else None,
            normed=norm,
        )


def hf_encoder(text: str) -> HfEncoder:
    """The encoder of `hf:org/repo` or `hf:FOLDER`.

    Raises:
        MissingExtraError: if transformers is not installed.
        CheckpointError: if the model cannot be had or loaded.
        ConfigError: if it is no vision model of a supported kind.
    """
    repo = text.removeprefix(PREFIX)
    transformers = _import_transformers(repo)
    source = str(Path(repo).expanduser()) if Path(repo).expanduser().is_dir() else repo
    try:
        model = transformers.AutoModel.from_pretrained(source, local_files_only=is_offline())
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise CheckpointError(
            f"hf:{repo}: transformers cannot load it ({reason}). Expected a repository ORG/NAME of the hub, or "
            "a folder made by save_pretrained; repositories that bring their own code are not run."
        ) from error
    model = getattr(model, "vision_model", model).float()
    if "pixel_values" not in _parameters(model):
        raise ConfigError(
            f"hf:{repo}: {type(model).__name__} takes no images (pixel_values): name a vision model"
        )
    mean, std = _normalization(transformers, source)
    return HfEncoder(
        model, name=f"{PREFIX}{repo}", licence=_licence(transformers, source), mean=mean, std=std
    )


def _import_transformers(repo: str) -> ModuleType:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "hf", f"hf:{repo}") from error
    return transformers


def _parameters(model: nn.Module) -> set[str]:
    return set(inspect.signature(model.forward).parameters)


def _side(size: Any) -> int | None:
    """One side of a square given as a number or a pair; None for anything else."""
    if isinstance(size, int):
        return size
    if isinstance(size, (list, tuple)) and len(set(size)) == 1 and isinstance(size[0], int):
        return size[0]
    return None


def _token_layout(shape: tuple[int, ...], size: int, patch: int | None, name: str) -> tuple[int, int]:
    """Stride and number of prefix tokens, from the output's shape for an image of `size` pixels a side."""
    if len(shape) == 4 and shape[2] == shape[3] and size % shape[2] == 0:
        return size // shape[2], 0
    if len(shape) == 3:
        if patch and 0 <= (prefix := shape[1] - (size // patch) ** 2) <= MAX_PREFIX_TOKENS:
            return patch, prefix
        side = math.isqrt(shape[1])
        if side * side == shape[1] and size % side == 0:
            return size // side, 0
    raise ConfigError(
        f"{name}: gives {shape} for a {size}x{size} image: neither a map nor patch tokens. Wrap it by hand: "
        "codistill.register_encoder with FunctionEncoder."
    )


def _file(transformers: ModuleType, source: str, filename: str) -> str:
    """A text file of the model; empty where it has none."""
    try:
        path = transformers.utils.cached_file(source, filename, local_files_only=is_offline())
        return Path(path).read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _normalization(transformers: ModuleType, source: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of `preprocessor_config.json`; ImageNet's where there is none."""
    text = _file(transformers, source, "preprocessor_config.json")
    try:
        said = json.loads(text) if text else {}
    except ValueError as error:
        raise CheckpointError(f"hf:{source}: damaged preprocessor_config.json ({error})") from error
    return tuple(said.get("image_mean") or IMAGENET_MEAN), tuple(said.get("image_std") or IMAGENET_STD)


def _licence(transformers: ModuleType, source: str) -> str:
    """The licence in the head of the model card."""
    text = _file(transformers, source, "README.md")
    if not text.startswith("---"):
        return "unknown"
    try:
        head = yaml.safe_load(text.split("---")[1])
    except yaml.YAMLError:
        return "unknown"
    said = head.get("license") if isinstance(head, dict) else None
    return str(said) if said else "unknown"
