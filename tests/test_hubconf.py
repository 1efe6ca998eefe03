"""hubconf.py: what `torch.hub` finds in a clone."""

import importlib.util
from pathlib import Path

import pytest
import torch

from codistill.encoders.load import load_encoder
from codistill.errors import CheckpointError
from codistill.weights.known import KNOWN

ROOT = Path(__file__).parent.parent


def test_entry_points_are_the_known_encoders_and_load_encoder() -> None:
    spec = importlib.util.spec_from_file_location("hubconf", ROOT / "hubconf.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entries = {name: entry for name, entry in vars(module).items() if callable(entry) and name[0] != "_"}
    known = [known.name.replace("-", "_") for known in KNOWN.values() if known.content != "two-view decoder"]
    assert set(entries) == {"load_encoder", *known}
    assert "NAVER non-commercial" in entries["dune_vitbase_14_448"].__doc__
    assert not [name for name in module.dependencies if importlib.util.find_spec(name) is None]


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
