"""The published data sets by name."""

from pathlib import Path

import pytest
from sample_pictures import write_pictures

from codistill.data import CATALOGUE, catalogue_source, open_source
from codistill.data.loader import open_sources
from codistill.errors import ConfigError, DataError


def test_totals_are_the_papers() -> None:
    """DUNE trains on 20.7 M images of 19 sets (in1k is an alternative to all)."""
    used = {name: entry for name, entry in CATALOGUE.items() if name != "in1k"}
    assert len(used) == 19
    assert round(sum(entry.train for entry in used.values()) / 1e6, 1) == 20.7
    by_domain = {
        domain: sum(entry.domain == domain for entry in used.values())
        for domain in ("generic", "3d", "human")
    }
    assert by_domain == {"generic": 3, "3d": 12, "human": 4}


def test_a_missing_or_incomplete_set_says_what_was_expected(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CODISTILL_DATA", str(tmp_path))
    with pytest.raises(
        DataError, match=r"source 'agora': nothing at .*/agora/train .*14314 images are expected"
    ):
        open_source(catalogue_source("agora"))
    write_pictures(tmp_path / "agora" / "train", ["a.jpg", "b.jpg"])
    with pytest.raises(DataError, match=r"2 images found in .*/agora/train \(folder\), 14314 are expected"):
        open_source(catalogue_source("agora"))
    source = open_source(catalogue_source("agora", complete=False))
    assert len(source) == 2 and source.config.domain == "human"


def test_all_sets_that_are_missing_are_named_at_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CODISTILL_DATA", str(tmp_path))
    write_pictures(tmp_path / "cuffs", ["a.jpg"])
    wanted = [catalogue_source(name) for name in ("agora", "cuffs", "bedlam")]
    here = catalogue_source("cuffs", complete=False)
    with pytest.raises(
        DataError, match=r"(?s)3 of 3 sources cannot be used:.*agora.*cuffs': 1 images.*bedlam"
    ):
        open_sources(wanted)
    with pytest.raises(DataError, match=r"^source 'agora': nothing at"):
        open_sources([catalogue_source("agora"), here])
    assert [size.length for size in open_sources([here])[1]] == [1]


def test_a_root_elsewhere_and_a_list(tmp_path: Path) -> None:
    root = tmp_path / "somewhere"
    write_pictures(root, ["scene/1.jpg", "scene/2.jpg", "videos/v/1.jpg"])
    (root / "val.txt").write_text("scene/2.jpg\n")
    source = open_source(catalogue_source("DL3DV", "val", root=str(root), complete=False))
    assert source.name_of(0) == "scene/2.jpg" and len(source.read(0)) > 100
    (root / "train.txt").write_text("v/1.jpg\n")
    ubody = open_source(catalogue_source("ubody", root=str(root), complete=False))
    assert len(ubody.read(0)) > 100


def test_rules_of_single_sets(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in19k", ["n01440764/a.jpg", "n02391617/b.jpg"])
    source = open_source(catalogue_source("in19k", root=str(tmp_path / "in19k"), complete=False))
    assert [source.name_of(n) for n in range(len(source))] == ["n02391617/b.jpg"]
    write_pictures(tmp_path / "bedlam/training", ["20221010_closeup/seq/1.png", "other/seq/1.png"])
    bedlam = open_source(catalogue_source("bedlam", root=str(tmp_path / "bedlam"), complete=False))
    assert [bedlam.rotated(n) for n in range(2)] == [True, False]


def test_unknown_names_and_splits() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'in19k'"):
        catalogue_source("in19")
    with pytest.raises(ConfigError, match="Unknown split 'test'"):
        catalogue_source("in1k", "test")
    with pytest.raises(ConfigError, match="'cuffs' has no val split"):
        catalogue_source("cuffs", "val")
