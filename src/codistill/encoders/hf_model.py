"""A transformers vision model as an encoder: pixels in its own range in, `Tokens` out.

`hf_layout` finds the patches among the tokens; `summary` chooses the vector of the class token.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from codistill.encoders.base import Encoder, normed_by
from codistill.encoders.hf_config import native_size, side_of, summary_tokens
from codistill.encoders.hf_layout import RAISED, find_layout, probe_images
from codistill.encoders.summary import check_summary, no_summary
from codistill.errors import ConfigError
from codistill.types import EncoderSpec, Tokens

POOLS = ("head", "pooler", "attn_pool", "attention_pool")
"""Names of submodules that pool tokens."""
_NO_ARCHITECTURE = ("_name_or_path", "transformers_version", "architectures", "dtype", "id2label", "label2id")


class HfEncoder(Encoder):
    """A transformers vision model.

    Args:
        model: a model that gives `last_hidden_state`, (batch, token, channel) or (batch, channel, row, column).
        name, licence, mean, std: for the spec.
        summary: which vector is `Tokens.cls`, see `encoders.summary`.
        projection: maps the pooled vector into the space shared with text, if the model has one.

    Raises:
        ConfigError: if its output is neither a map nor patches among other tokens, or it lacks the chosen summary.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str,
        licence: str,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        summary: str | None = None,
        projection: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.model = model.eval()
        config: Any = model.config
        self._takes = forward_parameters(model)
        patch = side_of(getattr(config, "patch_size", None))
        if patch is None:
            patch = side_of(getattr(getattr(config, "backbone_config", None), "patch_size", None))
        size = native_size(config, patch)
        depth = int(getattr(config, "num_hidden_layers", 0) or 0)
        self._patch = patch
        with torch.no_grad():
            # transformers' Swin shrinks its windows when it sees a small image, and does not enlarge them again
            fixed = getattr(config, "window_size", None) is not None
            self.layout = find_layout(self._run, patch=patch, size=size, depth=depth, name=name, fixed=fixed)
            self._probe = self._small_images(size, fixed)
            self.summary, self.indices = check_summary(summary, name), summary_tokens(config, summary, name)
            self.projection = projection if summary == "projected" else None
            self.has_cls, cls_dim = self._find_summary(name)
            pooled = self.summary in ("pooled", "projected")
            self._pool = self._find_pool()
            self.final_norm = nn.Identity() if pooled or self.layout.is_map else self._take_final_norm()
        prefix = 0 if self.layout.is_map else self.layout.prefix
        self.spec = EncoderSpec(
            name=name,
            dim=self.layout.dim,
            patch_size=self.layout.patch,
            depth=depth if self.layout.blocks else 0,
            has_cls=self.has_cls,
            num_registers=prefix - len(self.indices) if prefix else 0,
            image_size=size,
            mean=mean,
            std=std,
            licence=licence,
            cls_dim=cls_dim,
        )

    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        """Tokens of the last layer.

        Raises:
            ConfigError: if the model does not take images of this size; for norm=False with a pooled summary.
        """
        if self.summary not in ("pooled", "projected"):
            return self._tokens(self._checked(images).last_hidden_state, images, norm)
        if not norm:
            raise ConfigError(
                f"{self.spec.name}: summary={self.summary} comes after the final norm; ask for norm=True, or load it "
                "without summary="
            )
        output = self._checked(images)
        return self._tokens(output.last_hidden_state, images, norm, self._pooled(output))

    def encode_blocks(self, images: Tensor, blocks: Sequence[int], norm: bool = True) -> list[Tokens]:
        """Tokens after chosen blocks, in the order given.

        Raises:
            ValueError: for a block that the model does not have.
            ConfigError: as `encode`; also with a pooled summary, because only the last output has one.
        """
        depth = self.spec.depth
        if not depth:
            return super().encode_blocks(images, blocks, norm)
        wrong = [block for block in blocks if not -depth <= block < depth]
        if wrong:
            raise ValueError(f"blocks {wrong} do not exist: {self.spec.name} has {depth} (0 to {depth - 1})")
        if self.summary in ("pooled", "projected"):
            raise ConfigError(
                f"{self.spec.name}: single blocks have no summary={self.summary}; load it without summary="
            )
        hidden = self._checked(images, output_hidden_states=True).hidden_states[-depth:]
        return [self._tokens(hidden[block % depth], images, norm) for block in blocks]

    def apply_norm(self, tokens: Tokens) -> Tokens:
        """Apply the final norm, which was removed from the model; maps have none."""
        return normed_by(self.final_norm, tokens)

    @property
    def pools_patches(self) -> bool:
        """Whether the summary is pooled, by a submodule, from tokens that are all patches."""
        return self._pool is not None

    def pool(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """The model's own pooling, and its projection for a projected summary.

        Raises:
            NotImplementedError: if the encoder has no such summary.
        """
        if self._pool is None:
            return super().pool(patches, grid)
        pooled = self.model.get_submodule(self._pool)(patches).flatten(1)
        return pooled if self.projection is None else self.projection(pooled)

    def architecture(self) -> dict[str, Any]:
        """Adds the model's configuration, without its provenance, and the summary."""
        config: Any = self.model.config
        said = {key: value for key, value in config.to_diff_dict().items() if key not in _NO_ARCHITECTURE}
        more = {} if self.summary is None else {"summary": self.summary}
        return {**super().architecture(), "config": said, **more}

    def _checked(self, images: Tensor, **options: Any) -> Any:
        """The model's output; an error at a size other than the native one is explained to the user."""
        try:
            output = self._run(images, **options)
        except RAISED as error:
            native = self.spec.image_size
            if images.shape[-2:] == (native, native) or isinstance(error, torch.OutOfMemoryError):
                raise
            raise self._wrong_size(images, str(error)) from error
        hidden, patch = output.last_hidden_state, self.spec.patch_size
        grid = (images.shape[-2] // patch, images.shape[-1] // patch)
        tokens = (
            (hidden.shape[1:3] if self.layout.channels_last else hidden.shape[2:]).numel()
            if hidden.ndim == 4
            else hidden.shape[1]
        )
        if tokens < self.layout.prefix + grid[0] * grid[1]:
            raise self._wrong_size(images, f"it gives {tokens} tokens for a grid of {grid[0]}x{grid[1]}")
        return output

    def _wrong_size(self, images: Tensor, reason: str) -> ConfigError:
        native, (height, width) = self.spec.image_size, images.shape[-2:]
        return ConfigError(
            f"{self.spec.name} does not take images of {height}x{width} ({(reason.splitlines() or ['?'])[0][:200]}). "
            f"Resize them to {native}x{native}, its native size, or choose a model of flexible size."
        )

    def _run(self, images: Tensor, **options: Any) -> Any:
        if "interpolate_pos_encoding" in self._takes:
            options["interpolate_pos_encoding"] = True
        patch = self._patch
        if patch and "noise" in self._takes and getattr(self.model.config, "mask_ratio", None) is not None:
            count = (images.shape[-2] // patch) * (
                images.shape[-1] // patch
            )  # nothing masked, nothing shuffled
            options["noise"] = torch.arange(count, device=images.device).float().expand(images.shape[0], -1)
        if patch and {"spatial_shapes", "pixel_attention_mask"} <= self._takes:
            return self.model(**_packed_patches(images, patch), **options)
        return self.model(pixel_values=images, **options)

    def _find_summary(self, name: str) -> tuple[bool, int | None]:
        """Whether there is a summary vector, and its width where it differs from the tokens'."""
        layout, word = self.layout, self.summary
        if word in ("pooled", "projected"):
            if word == "projected" and self.projection is None:
                raise no_summary(word, name, "it has no projection into a space shared with text")
            output = self._run(self._probe)
            if not isinstance(getattr(output, "pooler_output", None), Tensor):
                raise no_summary(word, name, "it has no pooling of its own")
            width = self._pooled(output).shape[1]
            return True, None if width == layout.dim else width
        count = len(self.indices)
        if word == "cls" and (not count or layout.is_map):
            raise no_summary(word, name, "it has no class token")
        if count and not layout.is_map and layout.prefix > max(self.indices):
            return True, None if count == 1 else count * layout.dim
        if word is not None:
            raise no_summary(word, name, "it has no tokens but patches")
        self.indices = ()
        return False, None

    def _small_images(self, size: int, fixed: bool) -> Tensor:
        """A small image for trials, or one of native size where the model refuses it."""
        side = size if fixed else 2 * self.layout.patch
        try:
            self._run(probe := probe_images(side, side)[:1])
        except RAISED:
            return probe_images(size, size)[:1]
        return probe

    def _find_pool(self) -> str | None:
        """Path of the submodule that computes the pooled vector from the tokens alone; None where there is none."""
        if self.summary not in ("pooled", "projected") or self.layout.is_map or self.layout.prefix:
            return None
        output = self._run(self._probe)
        for path, part in self.model.named_modules():
            if path.rpartition(".")[2] not in POOLS:
                continue
            try:
                found = part(output.last_hidden_state)
            except RAISED:
                continue
            if isinstance(found, Tensor) and torch.equal(found.flatten(1), output.pooler_output.flatten(1)):
                return path
        return None

    def _pooled(self, output: Any) -> Tensor:
        pooled = output.pooler_output.flatten(1)
        return pooled if self.projection is None else self.projection(pooled)

    def _take_final_norm(self) -> nn.Module:
        """Remove the final norm from the model, so that tokens are available without it."""
        before = self._run(self._probe).last_hidden_state
        for path, norm in list(self.model.named_modules()):
            outer = path.count(".") <= 1 and not any(part.isdecimal() for part in path.split("."))
            if not outer or "norm" not in type(norm).__name__.lower():
                continue
            parent = self.model.get_submodule(path.rpartition(".")[0])
            leaf = path.rpartition(".")[2]
            setattr(parent, leaf, nn.Identity())
            try:
                bare = self._run(self._probe).last_hidden_state
                if not torch.equal(bare, before) and torch.equal(norm(bare), before):
                    return norm
            except RAISED:
                pass  # it has another width: a norm between stages
            setattr(parent, leaf, norm)  # not the final norm: put it back
        return nn.Identity()

    def _tokens(self, hidden: Tensor, images: Tensor, norm: bool, cls: Tensor | None = None) -> Tokens:
        layout = self.layout
        grid = (images.shape[-2] // layout.patch, images.shape[-1] // layout.patch)
        if layout.is_map:
            patches = hidden.flatten(1, 2) if layout.channels_last else hidden.flatten(2).transpose(1, 2)
            return Tokens(patches=patches, grid=grid, cls=cls, normed=norm)
        if norm:
            hidden = self.final_norm(hidden)
        first, others = layout.prefix, [i for i in range(layout.prefix) if i not in self.indices]
        if cls is None and self.indices:
            cls = (
                hidden[:, list(self.indices)].flatten(1)
                if len(self.indices) > 1
                else hidden[:, min(self.indices)]
            )
        return Tokens(
            patches=hidden[:, first : first + grid[0] * grid[1]],
            grid=grid,
            cls=cls,
            registers=hidden[:, others] if others else None,
            normed=norm,
        )


def forward_parameters(model: nn.Module) -> set[str]:
    """Names of the arguments that a model's forward pass takes."""
    return set(inspect.signature(model.forward).parameters)


def _packed_patches(images: Tensor, patch: int) -> dict[str, Tensor]:
    """Inputs of a NaFlex model (SigLIP 2), which takes any size: flat patches, a mask of ones, and grids."""
    batch, channels, height, width = images.shape
    rows, columns = height // patch, width // patch
    patches = images.reshape(batch, channels, rows, patch, columns, patch).permute(0, 2, 4, 3, 5, 1)
    device = images.device
    return {
        "pixel_values": patches.reshape(batch, rows * columns, -1),
        "pixel_attention_mask": torch.ones(batch, rows * columns, dtype=torch.long, device=device),
        "spatial_shapes": torch.tensor([[rows, columns]] * batch, dtype=torch.long, device=device),
    }
