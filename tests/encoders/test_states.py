"""Several states of the tokens from one pass are those of a pass for each."""

import pytest
import torch

from codistill.encoders.base import Encoder
from codistill.encoders.load import load_encoder
from codistill.encoders.registry import FunctionEncoder
from codistill.encoders.states import TokenState, both_norms, encode_states
from codistill.errors import ConfigError
from codistill.tasks.shared.baseline import ColourPositionEncoder
from codistill.types import EncoderSpec, Tokens

ENCODER = "random:vit_tiny,depth=3,dim=48,num_heads=2,image_size=56,num_registers=2"
IMAGES = torch.randn(2, 3, 28, 42, generator=torch.Generator().manual_seed(0))
LAST, BARE = TokenState(), TokenState(None, norm=False)


def passes(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every pass."""
    made: list[int] = []
    for name in ("encode", "encode_blocks"):
        original = getattr(encoder, name)

        def counted(*given, original=original):
            made.append(1)
            return original(*given)

        monkeypatch.setattr(encoder, name, counted)
    return made


@pytest.mark.parametrize(
    "states",
    [
        (LAST,),
        (BARE,),
        (LAST, BARE),
        (LAST, BARE, TokenState(0), TokenState(-2, norm=False), TokenState(0, False)),
    ],
)
def test_states_of_one_pass(states, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_encoder(ENCODER)
    expected = {
        state: encoder(IMAGES, norm=state.norm)
        if state.block is None
        else encoder.intermediate(IMAGES, (state.block,), norm=state.norm)[0]
        for state in states
    }
    count = passes(encoder, monkeypatch)
    found = encode_states(encoder, IMAGES, states)
    assert count == [1] and set(found) == set(states)
    for state, tokens in found.items():
        assert tokens.normed is state.norm
        for kind in ("patches", "cls", "registers"):
            torch.testing.assert_close(getattr(tokens, kind), getattr(expected[state], kind))


def test_encoders_without_a_norm_give_the_same_tokens_for_both() -> None:
    spec = EncoderSpec(name="f", dim=4, patch_size=14, has_cls=False)
    function = FunctionEncoder(spec, torch.nn.Conv2d(3, 4, 14, 14))
    for encoder in (ColourPositionEncoder(), function):
        found = encode_states(encoder, IMAGES, (LAST, BARE))
        assert torch.equal(found[LAST].patches, found[BARE].patches)
        assert found[LAST].normed and not found[BARE].normed


def test_timm_norms_as_by_itself() -> None:
    pytest.importorskip("timm")
    encoder = load_encoder("timm:vit_tiny_patch16_224,pretrained=false")
    images = torch.randn(1, 3, 224, 224)
    found = encode_states(encoder, images, (LAST, BARE))
    torch.testing.assert_close(found[LAST].patches, encoder(images).patches)


def test_what_cannot_be_had_from_one_pass() -> None:
    encoder = load_encoder(ENCODER)
    with pytest.raises(ValueError, match="normed already"):
        encoder.apply_norm(encoder(IMAGES))
    with pytest.raises(ValueError, match=r"blocks \[7\] do not exist"):
        encode_states(encoder, IMAGES, (TokenState(7),))

    class Bare(ColourPositionEncoder):
        def apply_norm(self, tokens):
            return Encoder.apply_norm(self, tokens)

    with pytest.raises(
        NotImplementedError, match="baseline:colour gives no tokens before and after its norm"
    ):
        encode_states(Bare(), IMAGES, (LAST, BARE))


class OnlyTwice(Encoder):
    """Its norm cannot be applied by itself, or nothing comes before it."""

    def __init__(self, before: bool = True) -> None:
        super().__init__()
        self.spec = EncoderSpec(name="twice", dim=3, patch_size=14, has_cls=False)
        self.before = before

    def encode(self, images: torch.Tensor, norm: bool = True) -> Tokens:
        if not norm and not self.before:
            raise ConfigError("a pooled summary comes after the norm")
        patches = torch.nn.functional.avg_pool2d(images, 14).flatten(2).transpose(1, 2)
        return Tokens(patches=patches * (1.0 if norm else 7.0), grid=(2, 3), normed=norm)


def test_tokens_before_and_after_the_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_encoder(ENCODER)
    wanted = {norm: encoder(IMAGES, norm=norm).patches for norm in (False, True)}
    count = passes(encoder, monkeypatch)
    found = both_norms(encoder, IMAGES)
    assert count == [1]
    for norm, tokens in found.items():
        assert tokens.normed is norm
        torch.testing.assert_close(tokens.patches, wanted[norm])
    two = both_norms(OnlyTwice(), IMAGES)
    torch.testing.assert_close(two[False].patches, 7.0 * two[True].patches)
    assert list(both_norms(OnlyTwice(before=False), IMAGES)) == [True]
