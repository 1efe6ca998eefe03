"""Published weights by name: where they are, under which licence, and their SHA-256 where one is known.

Nothing here uses the network. Addresses are the publishers' own. The hashes of DINOv2 and MASt3R files are recorded
alike by several independent projects; NAVER publishes none for DUNE and Multi-HMR, so those are None.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import Literal

from codistill.errors import CheckpointError, unknown_name
from codistill.weights.licences import permits_commercial

Content = Literal["encoder", "student", "two-view decoder"]

DINOV2_LICENCE = "Apache-2.0"
DUNE_LICENCE = "NAVER non-commercial"
MAST3R_LICENCE = "CC BY-NC-SA 4.0, plus the notices of its training sets"
MULTIHMR_LICENCE = "CC BY-NC-SA 4.0"

_SIZES = {"s": "small", "b": "base", "l": "large", "g": "giant"}
_META = "https://dl.fbaipublicfiles.com/dinov2"
_NAVER = "https://download.europe.naverlabs.com"


@dataclass(frozen=True, kw_only=True)
class KnownWeights:
    """One published file.

    Attributes:
        name: the name for users; `aliases` are further ones.
        url: the publisher's address.
        licence: licence of the weights.
        size: approximate size of the download; empty where unknown.
        sha256: hash of the file; None where none is published.
        content: e.g. an encoder, a student.
        homepage: page with the licence and the terms.
        patch_size: pixels per token of its encoder along each axis.
    """

    name: str
    url: str
    licence: str
    homepage: str
    size: str = ""
    sha256: str | None = None
    content: Content = "encoder"
    aliases: tuple[str, ...] = ()
    patch_size: int = 14

    @property
    def size_name(self) -> str:
        """The size of its vision transformer, as `nn.vit_config.vit_config` names it."""
        found = re.search(r"vit(small|base|large|giant|[sblg](?=14))", self.name)
        assert found is not None, self.name
        return f"vit_{_SIZES.get(found.group(1), found.group(1))}"

    @property
    def commercial(self) -> bool:
        """Whether the licence allows commercial use, under its terms."""
        return permits_commercial(self.licence) is True

    @property
    def filename(self) -> str:
        return self.url.rsplit("/", 1)[1]

    @property
    def names(self) -> tuple[str, ...]:
        """All names: the name, the aliases, and the stem of the published file."""
        return tuple(dict.fromkeys((self.name, *self.aliases, PurePath(self.filename).stem)))


def _dinov2() -> Iterator[KnownWeights]:
    rows = [
        ("small", "s", False, "88 MB", "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"),
        ("base", "b", False, "346 MB", "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73"),
        ("large", "l", False, "1.2 GB", "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"),
        ("giant", "g", False, "4.5 GB", "baf8467e50af277596bbbafa06887c177ee899ab46033649c383577d7e9309d3"),
        ("small", "s", True, "88 MB", "f433177089a681826f849f194ece3bb48f4d63fb38d32fc837e3dc7a4e5641fb"),
        ("base", "b", True, "346 MB", "73182a088cf94833c94b1666d1c99e02fe87e2007bff57b564fb6206e25dba71"),
        ("large", "l", True, "1.2 GB", "36e4deffbaef061a2576705b0c36f93621e2ae20bf6274694821b0b492551b51"),
        ("giant", "g", True, "4.5 GB", "746ecb8c6301c645c5c855be91687d274587d6e48fdaec4a729753160b34a283"),
    ]
    for size, letter, registers, download, sha256 in rows:
        folder = f"dinov2_vit{letter}14"
        yield KnownWeights(
            name=folder + "_reg" * registers,
            aliases=(f"dino2{'reg' * registers}_vit{size}_14",),
            url=f"{_META}/{folder}/{folder}{'_reg4' * registers}_pretrain.pth",
            licence=DINOV2_LICENCE,
            homepage="https://github.com/facebookresearch/dinov2",
            size=download,
            sha256=sha256,
        )


def _dune() -> Iterator[KnownWeights]:
    homepage = "https://github.com/naver/dune"
    for size, version in (
        ("base", "336"),
        ("base", "448"),
        ("base", "448_paper"),
        ("small", "336"),
        ("small", "448"),
    ):
        yield KnownWeights(
            name=f"dune_vit{size}_14_{version}",
            aliases=(f"dune_vit{size}14_{version}",),
            url=f"{_NAVER}/dune/dune_vit{size}14_{version}.pth",
            licence=DUNE_LICENCE,
            homepage=homepage,
            size="420 MB" if size == "base" else "110 MB",
            content="student",
        )
    for size in ("base", "small"):
        yield KnownWeights(
            name=f"dunemast3r_vit{size}",
            url=f"{_NAVER}/dune/dunemast3r_cvpr25_vit{size}.pth",
            licence=f"{DUNE_LICENCE}; {MAST3R_LICENCE}",
            homepage=homepage,
            content="two-view decoder",
        )


def _mast3r() -> Iterator[KnownWeights]:
    yield KnownWeights(
        name="mast3r_vitlarge_16",
        patch_size=16,
        url=f"{_NAVER}/ComputerVision/MASt3R/MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric.pth",
        licence=MAST3R_LICENCE,
        homepage="https://github.com/naver/mast3r",
        size="2.8 GB",
        sha256="e28f91b488554653e2b46ddae9c78c1143e0bcb2e27d3e26cdb0b717f1568eb2",
    )


def _multihmr() -> Iterator[KnownWeights]:
    for image_size, letter, size, download in (
        (672, "L", "large", ""),
        (672, "B", "base", ""),
        (672, "S", "small", "124 MB"),
        (896, "L", "large", "1.3 GB"),
    ):
        yield KnownWeights(
            name=f"multihmr_vit{size}_14_{image_size}",
            url=f"{_NAVER}/ComputerVision/MultiHMR/multiHMR_{image_size}_{letter}.pt",
            licence=MULTIHMR_LICENCE,
            homepage="https://github.com/naver/multi-hmr",
            size=download,
        )


KNOWN: dict[str, KnownWeights] = {
    known.name: known for group in (_dinov2(), _dune(), _mast3r(), _multihmr()) for known in group
}
"""Every known file by its name."""


@cache
def _by_any_name() -> dict[str, KnownWeights]:
    return {name.lower(): known for known in KNOWN.values() for name in known.names}


def known_weights(name: str) -> KnownWeights:
    """Find a known file by name, alias or published stem; upper and lower case are not distinguished.

    Raises:
        CheckpointError: for an unknown name; the text lists the nearest and all known names.
    """
    if (found := find_known(name)) is None:
        raise CheckpointError(unknown_name("weights", name, KNOWN))
    return found


def find_known(name: str) -> KnownWeights | None:
    """As `known_weights`, but None for an unknown name."""
    return _by_any_name().get(name.lower())


def known_stem(stem: str) -> KnownWeights | None:
    """The known file of a file's stem: one of its names, possibly followed by `_fp16`, `_pretrain` or the like."""
    stem = stem.lower()
    for tail in ("", "_fp16", "_fp32", "_bf16", "_pretrain"):
        if stem.endswith(tail) and (found := find_known(stem.removesuffix(tail))):
            return found
    return None
