"""Fingerprints tell encoders apart by what they compute, and survive a JSON file."""

import json
from dataclasses import replace

import torch

from codistill.encoders.fingerprint import EncoderFingerprint, encoder_fingerprint
from codistill.encoders.load import load_encoder
from codistill.encoders.registry import FunctionEncoder
from codistill.encoders.vit import ViTEncoder
from codistill.files.plain import from_plain, to_plain
from codistill.types import EncoderSpec

TINY = "random:vit_tiny,dim=48,depth=2,num_heads=3"


def test_equal_encoders_have_equal_fingerprints_whatever_they_are_called() -> None:
    one, other = load_encoder(TINY), load_encoder(TINY)
    other.spec = replace(other.spec, name="moved.pth", licence="somebody's")
    first, second = encoder_fingerprint(one), encoder_fingerprint(other)
    assert first.name != second.name and first.difference(second) == ""
    assert from_plain(EncoderFingerprint, json.loads(json.dumps(to_plain(first)))) == first


def test_one_changed_value_or_one_changed_word_is_another_encoder() -> None:
    encoder = load_encoder(TINY)
    before = encoder_fingerprint(encoder)
    with torch.no_grad():
        encoder.norm.bias[-1] += 1e-7
    assert "weights differ" in before.difference(encoder_fingerprint(encoder))
    same_weights = ViTEncoder(replace(encoder.config, num_heads=6), name="x")
    same_weights.load_state_dict(load_encoder(TINY).state_dict())
    found = before.difference(encoder_fingerprint(same_weights))
    assert "num_heads 3 against 6" in found
    encoder.spec = replace(encoder.spec, mean=(0.5, 0.5, 0.5))
    assert "mean" in before.difference(encoder_fingerprint(encoder))


def test_encoders_without_weights_differ_by_their_functions() -> None:
    spec = EncoderSpec(name="mine", dim=3, patch_size=14, has_cls=False)
    pools = [torch.nn.AvgPool2d(14), torch.nn.MaxPool2d(14), torch.nn.functional.adaptive_avg_pool2d]
    found = [encoder_fingerprint(FunctionEncoder(spec, pool)) for pool in pools]
    assert found[0].weights == found[1].weights
    assert found[0].difference(found[1]) and found[1].difference(found[2])
