"""The wheel and the source distribution, built from the checkout and used where there is no checkout.

An empty virtual environment holds the wheel alone; its dependencies are read from this environment's site-packages (a
path file, whose own path files are not followed, so that no checkout is among them).
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow
BUILD = "import setuptools.build_meta as b, sys; print(getattr(b, 'build_' + sys.argv[1])(sys.argv[2]))"


def build(kind: str, source: Path, out: Path, **environment: str) -> Path:
    pytest.importorskip("setuptools_scm", reason="builds take the version from git by setuptools-scm")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, kind, str(out)],
        cwd=source,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files alone, without git: what an archive of the repository holds."""
    folder = tmp_path_factory.mktemp("archive") / "codistill"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a checkout of git")
    for name in filter(None, listed.stdout.split("\0")):
        if not (ROOT / name).exists():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    return build("wheel", source, out, SETUPTOOLS_SCM_PRETEND_VERSION_FOR_CODISTILL="7.8.9")


@pytest.fixture(scope="module")
def empty(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--quiet", str(wheel)], check=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder


def run(empty: Path, place: Path, *argv: str) -> str:
    keep = {
        key: os.environ[key] for key in ("HOME", "XDG_CACHE_HOME", "CODISTILL_CACHE") if key in os.environ
    }
    done = subprocess.run(
        [str(empty / "bin" / argv[0]), *argv[1:]],
        cwd=place,
        env={**keep, "PATH": str(empty / "bin"), "CODISTILL_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done.stdout


def test_the_version_is_that_of_the_tag(empty: Path, tmp_path: Path) -> None:
    assert run(empty, tmp_path, "codistill", "--version") == "codistill 7.8.9\n"
    code = "import codistill; print(codistill.__version__, codistill.__file__)"
    version, place = run(empty, tmp_path, "python", "-c", code).split()
    assert version == "7.8.9" and place.startswith(str(empty))


def test_an_encoder_loads_and_is_written(empty: Path, tmp_path: Path) -> None:
    code = (
        "import codistill, torch; e = codistill.load_encoder('random:vit_tiny,depth=2'); "
        "print(e(torch.zeros(1, 3, 28, 42)).grid)"
    )
    assert run(empty, tmp_path, "python", "-c", code) == "(2, 3)\n"
    run(empty, tmp_path, "codistill", "distill", "debug", "--out", "run")
    run(empty, tmp_path, "codistill", "convert", "run", "--out", "export")
    described = json.loads(run(empty, tmp_path, "codistill", "inspect", "export", "--json"))
    assert described["file says"]["codistill_version"] == "7.8.9"
    assert "dinov3_vitb16" in run(empty, tmp_path, "codistill", "inspect")


def test_a_world_is_built_and_a_head_fitted_on_it(empty: Path, tmp_path: Path) -> None:
    pytest.importorskip("embreex", reason="needs the extra `world`")
    build = ["world", "build", "--out", "w", "--images", "20", "--domains", "objects", "--size", "56"]
    run(empty, tmp_path, "codistill", *build, "--workers", "1")
    fit = [
        "fit",
        "segmentation",
        "--encoder",
        "random:vit_tiny,depth=2",
        "--data",
        "world:w",
        "--out",
        "head",
    ]
    run(empty, tmp_path, "codistill", *fit, "--steps", "5", "--size", "56", "--device", "cpu")
    assert (tmp_path / "head" / "head.json").is_file()


def test_the_wheel_holds_the_library_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        about = next(name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(about).decode()
    assert {name.partition("/")[0] for name in names} == {"codistill", about.partition("/")[0]}
    assert "codistill/data/imagenet1k_wnids.json" in names and not any(
        "__pycache__" in name for name in names
    )
    assert re.search(r"^Provides-Extra: all$", metadata, re.MULTILINE)
    assert "License-Expression: Apache-2.0" in metadata and "](docs/" not in metadata


def test_the_source_distribution_builds_the_same_wheel_without_git(
    source: Path, wheel: Path, tmp_path: Path
) -> None:
    archive = build("sdist", source, tmp_path, SETUPTOOLS_SCM_PRETEND_VERSION_FOR_CODISTILL="7.8.9")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert (unpacked / "tests" / "conftest.py").is_file() and (unpacked / "docs" / "weights.md").is_file()
    again = build("wheel", unpacked, tmp_path)  # the version from its metadata
    assert again.name == wheel.name
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())


def test_an_archive_without_git_and_metadata_still_builds(source: Path, tmp_path: Path) -> None:
    assert build("wheel", source, tmp_path).name.startswith("codistill-0.1.0-")
