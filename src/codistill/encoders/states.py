"""Several states of an encoder's tokens from one pass: after chosen blocks, before and after the final norm.

Heads read different states: linear heads read normed tokens, projectors and two-view decoders un-normed ones, and some
heads read several blocks. In: images and the wanted states. Out: `Tokens` by state.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from codistill.encoders.base import Encoder
from codistill.errors import ConfigError
from codistill.types import Tokens


@dataclass(frozen=True)
class TokenState:
    """A state of the tokens: after which block, with or without the final norm.

    Attributes:
        block: 0-based, or negative from the end; None: the encoder's output.
        norm: whether the final norm is applied.
    """

    block: int | None = None
    norm: bool = True


def encode_states(
    encoder: Encoder, images: Float[Tensor, "batch 3 row column"], states: Iterable[TokenState]
) -> dict[TokenState, Tokens]:
    """Compute tokens in several states with one pass of the encoder.

    Args:
        encoder: called once, whatever the number of states.
        images: ImageNet-normalized; sides are multiples of the patch size.
        states: the wanted states. If some are un-normed, the pass is un-normed, and the norm is applied afterwards.

    Raises:
        NotImplementedError: for blocks of an encoder without blocks, or if both normed and un-normed tokens are wanted
            and the norm cannot be applied by itself.
        ValueError: for a block that does not exist.
    """
    wanted = list(dict.fromkeys(states))
    norm = all(state.norm for state in wanted)
    depth = encoder.spec.depth
    blocks = [_numbered(state.block, depth) for state in wanted]
    if all(block is None for block in blocks):
        outputs: dict[int | None, Tokens] = {None: encoder(images, norm=norm)}
    else:
        numbers = list(dict.fromkeys(depth - 1 if block is None else block for block in blocks))
        found = encoder.intermediate(images, numbers, norm=norm)
        outputs = dict(zip(numbers, found, strict=True))
        if None in blocks:
            outputs[None] = outputs[depth - 1]
    return {
        state: encoder.apply_norm(outputs[block]) if state.norm and not norm else outputs[block]
        for state, block in zip(wanted, blocks, strict=True)
    }


def both_norms(encoder: Encoder, images: Float[Tensor, "batch 3 row column"]) -> dict[bool, Tokens]:
    """An encoder's output before (False) and after (True) its final norm, from one pass where possible.

    The entry False is missing where an encoder gives no un-normed tokens: a pooled summary exists only after the norm.
    """
    states = {norm: TokenState(norm=norm) for norm in (False, True)}
    try:
        found = encode_states(encoder, images, states.values())
    except NotImplementedError:
        return {norm: encoder(images, norm=norm) for norm in states}
    except ConfigError:
        return {True: encoder(images)}
    return {norm: found[state] for norm, state in states.items()}


def _numbered(block: int | None, depth: int) -> int | None:
    """A block counted from the start; None and blocks that do not exist are returned as they are."""
    return block + depth if block is not None and -depth <= block < 0 else block
