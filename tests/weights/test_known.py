"""The list of published weights is consistent and says what users need."""

import re

import pytest

from codistill.errors import CheckpointError
from codistill.weights.known import KNOWN, find_known, known_stem, known_weights


def test_names_are_unique_and_every_entry_is_complete() -> None:
    names = [name.lower() for known in KNOWN.values() for name in known.names]
    assert len(set(names)) == len(names)
    for known in KNOWN.values():
        assert (
            known.url.startswith("https://")
            and known.licence
            and known.homepage.startswith("https://github.com/")
        )
        assert known.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", known.sha256)
        assert known.commercial == (known.licence == "Apache-2.0")
    hashes = [known.sha256 for known in KNOWN.values() if known.sha256]
    assert len(set(hashes)) == len(hashes) == 9


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("dino2reg_vitlarge_14", "dinov2_vitl14_reg"),
        ("dune_vitbase14_448", "dune_vitbase_14_448"),
        ("multiHMR_672_L", "multihmr_vitlarge_14_672"),
        ("MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric", "mast3r_vitlarge_16"),
    ],
)
def test_published_and_training_names_are_aliases(typed: str, name: str) -> None:
    assert known_weights(typed).name == name


def test_stems_of_files() -> None:
    assert known_stem("dinov2_vits14_fp16") is find_known("dinov2_vits14")
    assert known_stem("dinov2_vits14_reg4_pretrain") is find_known("dinov2_vits14_reg")
    assert known_stem("dinov2_vits14_finetuned") is None
    with pytest.raises(CheckpointError, match="Did you mean 'dune_vitbase_14_448'"):
        known_weights("dune_vitbase_14_44")
