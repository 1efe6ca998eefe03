"""`codistill index` and `codistill bench loader`, as they are typed."""

from pathlib import Path

import pytest
from sample_pictures import write_pictures

from codistill.commands import bench_loader, index
from codistill.data import SourceConfig, open_source
from codistill.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "photos", [f"{folder}/{n}.jpg" for folder in "ab" for n in range(6)])
    return tmp_path / "photos"


def test_manifest_with_patterns_anywhere(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "deep" / "p.parquet"
    assert index.main(["photos", "--root", str(root), "--out", str(out), "--exclude", "b/*", "*/5.jpg"]) == 0
    assert f"photos: 5 images in 1 folders of {root} listed in {out}" in capsys.readouterr().out
    source = open_source(SourceConfig(name="p", path=str(out)))
    assert len(source) == 5 and source.read(0) == (root / "a/0.jpg").read_bytes()


def test_known_set_is_held_to_its_count(root: Path, tmp_path: Path) -> None:
    arguments = ["cuffs", "--root", str(root), "--out", str(tmp_path / "c.parquet")]
    with pytest.raises(DataError, match=r"12 images found in .*, 54944 are expected"):
        index.main(arguments)
    assert index.main([*arguments, "--allow-incomplete"]) == 0


def test_pack_resumes_and_is_verified(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "shards"
    pack = ["photos", "--root", str(root), "--out", str(out), "--pack", "--images-per-shard", "5"]
    assert index.main(pack) == 0
    (out / "shard-000001.tar").unlink()
    assert index.main(pack) == 0
    assert "12 images packed into 3 shards" in capsys.readouterr().out
    assert index.main(["photos", "--root", str(out), "--verify"]) == 0
    shard = out / "shard-000002.tar"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert index.main(["photos", "--root", str(out), "--verify"]) == 1
    text = capsys.readouterr().out
    assert "shard-000002.tar: damaged: its SHA-256" in text and "2 of 3 shards" in text


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--verify", "--pack", "--out", "o"], "--out would have no effect: --verify compares"),
        (["--verify", "--include", "a/*"], "--include would have no effect: --verify compares"),
        (["--out", "p.parquet", "--member", "depth.png"], "--member would have no effect: nothing is packed"),
        (["--out", "p.parquet", "--check"], "--check would have no effect: nothing is packed"),
        (["--out", "p.parquet", "--images-per-shard", "9"], "--images-per-shard would have no effect"),
        (["--out", "p.parquet", "--workers", "9"], "--workers would have no effect: a list is made by one"),
        (
            ["--out", "p.parquet", "--split", "val"],
            "--split would have no effect: 'photos' is no known data set",
        ),
        (["--out", "p.parquet", "--allow-incomplete"], "--allow-incomplete would have no effect"),
    ],
)
def test_options_without_effect_are_refused(root: Path, more: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        index.main(["photos", "--root", str(root), *more])


def test_patterns_for_the_index_of_shards_are_refused(root: Path, tmp_path: Path) -> None:
    assert index.main(["photos", "--root", str(root), "--out", str(tmp_path / "s"), "--pack"]) == 0
    (tmp_path / "s" / "index.parquet").unlink()
    with pytest.raises(ConfigError, match="--exclude would have no effect: the index of shards"):
        index.main(["photos", "--root", str(tmp_path / "s"), "--exclude", "a/*"])
    assert not (tmp_path / "s" / "index.parquet").exists()


def test_a_pack_says_that_nothing_was_decoded_or_leaves_out_what_is_damaged(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    whole = (root / "a" / "0.jpg").read_bytes()
    (root / "a" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "a" / "text.jpg").write_text("no image")
    pack = ["photos", "--root", str(root), "--pack", "--out"]
    assert index.main([*pack, str(tmp_path / "all")]) == 0
    said = capsys.readouterr().out
    assert "14 images packed into 1 shards" in said and "None was decoded" in said and "--check" in said
    assert index.main([*pack, str(tmp_path / "good"), "--check"]) == 0
    said = capsys.readouterr().out
    assert "left out a/cut.jpg: " in said and "left out a/text.jpg: not an image in a known format" in said
    assert "12 images packed into 1 shards" in said and "2 left out" in said and "None was" not in said
    assert len(open_source(SourceConfig(name="s", path=str(tmp_path / "good")))) == 12
    with pytest.raises(DataError, match="checked differ"):
        index.main([*pack, str(tmp_path / "all"), "--check"])
    plan = tmp_path / "all" / "pack.json"  # as earlier versions wrote it
    plan.write_text(
        "".join(line for line in plan.read_text().splitlines() if "checked" not in line).replace(",}", "}")
    )
    assert index.main([*pack, str(tmp_path / "all")]) == 0


def test_a_pack_of_nothing_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "0.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="none of 1 images can be packed"):
        index.main(["x", "--root", str(tmp_path / "empty"), "--out", str(tmp_path / "s"), "--pack"])
    assert "left out 0.jpg: the file is empty" in capsys.readouterr().out


def test_foreign_shards_get_an_index(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    import tarfile

    folder = tmp_path / "web"
    folder.mkdir()
    with tarfile.open(folder / "0.tar", "w") as tar:
        tar.add(root / "a", arcname="a")
    assert index.main(["web", "--root", str(folder)]) == 0
    assert "web: 6 images indexed" in capsys.readouterr().out
    assert (folder / "index.parquet").exists()


def test_mistakes_are_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'in1k'.* give --root DIR"):
        index.main(["in1", "--out", "x.parquet"])
    with pytest.raises(ConfigError, match="--out is missing"):
        index.main(["photos", "--root", str(root)])
    with pytest.raises(ConfigError, match="for shards in a folder add --pack"):
        index.main(["photos", "--root", str(root), "--out", str(tmp_path / "shards")])
    with pytest.raises(ConfigError, match="with --pack it is a folder"):
        index.main(["photos", "--root", str(root), "--out", "x.parquet", "--pack"])
    with pytest.raises(DataError, match="nothing at"):
        index.main(["photos", "--root", str(root / "gone"), "--out", "x.parquet"])


def test_bench_prints_rates_and_ratios(capsys: pytest.CaptureFixture) -> None:
    arguments = ["--count", "2", "--size", "64", "--megapixels", "1", "--large-count", "1", "--repeats", "1"]
    assert bench_loader.main(arguments) == 0
    text = capsys.readouterr().out
    assert text.count("plain v2, tensor crops") == 2 and "images/s" in text and "1.00" in text
