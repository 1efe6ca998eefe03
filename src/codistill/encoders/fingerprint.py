"""Fingerprint of an encoder: its name, architecture, and a hash of its weights.

The file behind an encoder's name may change, and two encoders of equal width may differ. Heads and stored tokens
therefore keep the fingerprint of their encoder, which is compared before they are used.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from codistill.encoders.base import Encoder
from codistill.weights.export import as_json


@dataclass(frozen=True, kw_only=True)
class EncoderFingerprint:
    """Identity of an encoder, as plain data.

    Attributes:
        name: for messages only: it may differ between equal encoders (a moved file).
        architecture: the result of `Encoder.architecture`: sizes, normalization, and whatever else determines the
            features besides the weights. JSON data; fields at their default value are left out.
        weights: SHA-256 over all weights and buffers, see `weights_hash`.
    """

    name: str
    architecture: dict[str, Any]
    weights: str

    def difference(self, other: "EncoderFingerprint") -> str:
        """Clause for a message that says how `other` differs; empty if it does not. Names are not compared."""
        ours, theirs = self.architecture, other.architecture
        changed = [
            f"{key} {ours.get(key, 'default')} against {theirs.get(key, 'default')}"
            for key in sorted({*ours, *theirs})
            if ours.get(key) != theirs.get(key)
        ]
        if changed:
            return f"the architectures differ ({'; '.join(changed[:4])})"
        if self.weights != other.weights:
            return f"the weights differ (SHA-256 {self.weights[:12]}… against {other.weights[:12]}…)"
        return ""


def encoder_fingerprint(encoder: Encoder) -> EncoderFingerprint:
    """Compute the fingerprint of an encoder in its present state; reads all weights (about a second per GB)."""
    return EncoderFingerprint(
        name=encoder.spec.name,
        architecture=as_json(encoder.architecture()),
        weights=weights_hash(encoder),
    )


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over the names and bytes of all weights and buffers in a module's state dict."""
    digest = hashlib.sha256()
    add_weights(digest, module)
    return digest.hexdigest()


def add_weights(digest: "hashlib._Hash", module: nn.Module) -> None:
    """Feed a module's weights into a running hash, in the order of their names."""
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
