"""hubconf.py: what `torch.hub` finds in a clone."""

from pathlib import Path

import pytest
import torch

from codistill.encoders.load import load_encoder
from codistill.errors import CheckpointError
from codistill.weights.known import KNOWN

ROOT = Path(__file__).parent.parent


def test_entry_points_are_the_known_encoders_and_load_encoder() -> None:
    names = torch.hub.list(str(ROOT), source="local")
    assert set(names) == {
        "load_encoder",
        *(k.name for k in KNOWN.values() if k.content != "two-view decoder"),
    }
    assert "NAVER non-commercial" in torch.hub.help(str(ROOT), "dune_vitbase_14_448", source="local")


def test_load_encoder_is_the_librarys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    what = "random:vit_tiny,dim=24,depth=1,num_heads=2"
    encoder = torch.hub.load(str(ROOT), "load_encoder", what, source="local")
    images = torch.zeros(1, 3, 14, 14)
    assert torch.equal(encoder(images).patches, load_encoder(what)(images).patches)
    monkeypatch.setenv("CODISTILL_OFFLINE", "1")
    monkeypatch.setenv("CODISTILL_CACHE", str(tmp_path))
    monkeypatch.setenv("CODISTILL_WEIGHTS", str(tmp_path))
    with pytest.raises(CheckpointError, match="dinov2_vitg14_reg"):
        torch.hub.load(str(ROOT), "dinov2_vitg14_reg", source="local")
