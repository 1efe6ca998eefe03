"""A tiny embedded world that any test may read, built once per session (or kept in `CODISTILL_TEST_WORLD`)."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # shared_files
if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: more threads wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

TINY_IMAGES = 12
"""Per domain: 8 to train on, 2 to validate, 2 to test (whole pairs, for rooms)."""


def _build(folder: Path, domains: tuple[str, ...]) -> Path:
    pytest.importorskip("embreex", reason="needs the extra `world`")
    pytest.importorskip("trimesh", reason="needs the extra `world`")
    from codistill.world.build import WorldConfig, build_world

    images = TINY_IMAGES * len(domains)
    config = WorldConfig(images=images, domains=domains, size=112, val_share=1 / 6, test_share=1 / 6)
    build_world(folder, config, workers=1)
    return folder


def _folder(factory: pytest.TempPathFactory, name: str) -> Path:
    """A folder of this session, or the one that `CODISTILL_TEST_WORLD` keeps."""
    kept = os.environ.get("CODISTILL_TEST_WORLD")
    return Path(kept) / name if kept else factory.mktemp(name)


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of `objects` and `rooms`, 24 pictures of 112 pixels; seconds to make."""
    return _build(_folder(tmp_path_factory, "tiny_world"), ("objects", "rooms"))


@pytest.fixture(scope="session")
def tiny_people_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of `people`, 12 pictures of 112 pixels; skipped until Anny has been built once on this machine."""
    pytest.importorskip("anny", reason="needs the extra `world`")
    from codistill.bodies.anny import anny_is_built

    if not anny_is_built():
        pytest.skip(
            "Anny is not built yet (one to four minutes); any `codistill world build` with people does it"
        )
    return _build(_folder(tmp_path_factory, "tiny_people_world"), ("people",))


@pytest.fixture(scope="module")
def install(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], None]]:
    """A function that leaves a package with some entry points, as `pip install` does; it is gone after the module."""
    with pytest.MonkeyPatch.context() as patch:

        def installed(entry_points: str) -> None:
            folder = tmp_path_factory.mktemp("site")
            about = folder / "added-1.0.dist-info"
            about.mkdir()
            (about / "METADATA").write_text("Metadata-Version: 2.1\nName: added\nVersion: 1.0\n")
            (about / "entry_points.txt").write_text(entry_points)
            patch.syspath_prepend(folder)

        yield installed
