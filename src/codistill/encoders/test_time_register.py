"""A register at test time for an encoder trained without one: patch tokens of high norm move into an extra token.

A few hidden units of the MLPs write the tokens of high norm ("long" tokens). In each image, the largest activation of
such a unit over all tokens is moved into one additional register token, and the unit is set to zero at all other
tokens. Nothing is trained. Weights files do not hold the units, so the result is neither folded nor saved.

    neurons = find_register_neurons(encoder, batches, count=50)
    quiet = RegisterAtTestTime(encoder, neurons)           # or load_encoder("E,register_neurons=FILE.json")

Source: Vision transformers don't need trained registers (arXiv 2506.08010).
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.encoders.vit import TransformerEncoder, ViTEncoder
from codistill.errors import ConfigError
from codistill.files.json_files import read_json, write_json
from codistill.files.plain import from_plain
from codistill.metrics.token_lengths import long_from
from codistill.nn.blocks import Mlp


@dataclass(frozen=True, kw_only=True)
class RegisterNeurons:
    """Hidden units that write long tokens.

    Attributes:
        encoder: name of the encoder; for messages.
        width, hidden: width and hidden width of its blocks, which must agree with the encoder they are used on.
        units: pairs of a 0-based block and a hidden unit, the strongest first.
    """

    encoder: str
    width: int
    hidden: int
    units: tuple[tuple[int, int], ...]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> "RegisterNeurons":
        """Read what `save` wrote.

        Raises:
            CheckpointError: if the file cannot be read.
            ConfigError: if it holds something else.
        """
        return from_plain(cls, read_json(Path(path).expanduser()), str(path))


@torch.inference_mode()
def find_register_neurons(
    encoder: ViTEncoder, batches: Iterable[Float[Tensor, "batch 3 row column"]], count: int
) -> RegisterNeurons:
    """Find the units with the largest mean activation at long tokens, up to the block that makes them long.

    Args:
        encoder: one of codistill's vision transformers with a GELU feed-forward part.
        batches: ImageNet-normalized images; a few dozen suffice.
        count: number of units.

    Raises:
        ConfigError: for other networks, or if no token is long, so that no register is needed.
    """
    mlps = _mlps(encoder)
    lengths: list[list[Tensor]] = [[] for _ in mlps]
    activations: list[list[Tensor]] = [[] for _ in mlps]
    prefix = encoder.config.num_prefix + encoder.config.num_registers
    for images in batches:
        x, _, rope = encoder.embed(encoder.own_normalization(images))
        for index, block in enumerate(encoder.blocks):
            attended = block._add(x, block.attn(block.norm1(x), rope), block.ls1)  # type: ignore[operator]
            activations[index].append(mlps[index].hidden(block.norm2(attended))[:, prefix:].flatten(0, 1))  # type: ignore[operator]
            x = block(x, rope)
            lengths[index].append(x[:, prefix:].norm(dim=-1).flatten())
    by_block = [torch.cat(of) for of in lengths]
    long = by_block[-1] > long_from(by_block[-1])
    if not long.any():
        raise ConfigError(
            f"{encoder.spec.name} makes no long tokens on these images, so there is nothing to move into a register"
        )
    last = next(i for i, of in enumerate(by_block) if (of[long] > long_from(of)).float().mean() >= 0.5)
    means = torch.stack([torch.cat(of)[long].mean(0) for of in activations[: last + 1]])  # (block, hidden)
    if not 1 <= count <= means.numel():
        raise ConfigError(
            f"there are {means.numel()} hidden units up to block {last}; got a count of {count}"
        )
    order = means.flatten().topk(count).indices.tolist()
    hidden = means.shape[1]
    return RegisterNeurons(
        encoder=encoder.spec.name,
        width=encoder.config.dim,
        hidden=hidden,
        units=tuple(divmod(index, hidden) for index in order),
    )


def _mlps(encoder: ViTEncoder) -> list[Mlp]:
    mlps = [block.mlp for block in encoder.blocks] if isinstance(encoder, ViTEncoder) else []
    if not mlps or not all(isinstance(mlp, Mlp) for mlp in mlps):
        raise ConfigError(
            f"{encoder.spec.name}: registers at test time need one of our vision transformers with a GELU feed-forward "
            "part"
        )
    if encoder.config.window:
        raise ConfigError(
            f"{encoder.spec.name}: registers at test time need blocks that see the whole image; leave out window"
        )
    return mlps  # type: ignore[return-value]


class RegisterAtTestTime(TransformerEncoder):
    """A copy of an encoder with one more register, the only token into which the given hidden units write.

    Raises:
        ConfigError: if the units belong to another encoder.
    """

    def __init__(self, encoder: ViTEncoder, neurons: RegisterNeurons) -> None:
        mlps, config = _mlps(encoder), encoder.config
        fits = (neurons.width, neurons.hidden) == (config.dim, mlps[0].fc1.out_features)
        if not fits or any(
            not 0 <= b < config.depth or not 0 <= u < neurons.hidden for b, u in neurons.units
        ):
            raise ConfigError(
                f"these register neurons are of {neurons.encoder} ({neurons.width} wide), not of {encoder.spec.name} "
                f"({config.dim} wide, {config.depth} blocks): find its own with codistill analyze"
            )
        spec = encoder.spec
        super().__init__(
            replace(config, num_registers=config.num_registers + 1),
            name=spec.name,
            licence=spec.licence,
            mean=tuple(spec.mean),
            std=tuple(spec.std),
        )
        self.neurons = neurons
        empty = torch.zeros(1, 1, config.dim)
        before = [encoder.register_tokens.detach().cpu()] if config.num_registers else []
        state = {**encoder.state_dict(), "register_tokens": torch.cat((*before, empty), dim=1)}
        self.load_state_dict(state)
        place = config.num_prefix + config.num_registers
        for block in {block for block, _ in neurons.units}:
            units = torch.tensor([unit for of, unit in neurons.units if of == block])
            mlp: Any = self.blocks[block].mlp
            mlp.hidden = partial(_moved, mlp.hidden, units, place)
        self.eval()

    def architecture(self) -> dict[str, Any]:
        """Adds the units, on which the features depend."""
        return {**super().architecture(), "register_neurons": [list(pair) for pair in self.neurons.units]}


def _moved(hidden: Callable[[Tensor], Tensor], units: Tensor, place: int, x: Tensor) -> Tensor:
    """Hidden activations (batch, token, unit); chosen units keep their largest value at one token, 0 elsewhere."""
    h = hidden(x).clone()
    largest = h[..., units].amax(1)  # (batch, units)
    h[..., units] = 0.0
    h[:, place, units] = largest
    return h
