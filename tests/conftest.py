"""A tiny embedded world that any test may read, built once per session (or kept in `CODISTILL_TEST_WORLD`)."""

import fcntl
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


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Files are written as always, but not forced onto the disk: no test pulls the plug."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def _build(factory: pytest.TempPathFactory, name: str, domains: tuple[str, ...]) -> Path:
    """A world that the workers of a session share, or the one that `CODISTILL_TEST_WORLD` keeps."""
    pytest.importorskip("embreex", reason="needs the extra `world`")
    pytest.importorskip("trimesh", reason="needs the extra `world`")
    from codistill.world.build import WorldConfig, build_world

    session = factory.getbasetemp()
    session = session.parent if "PYTEST_XDIST_WORKER" in os.environ else session
    folder = Path(os.environ.get("CODISTILL_TEST_WORLD") or session) / name
    folder.mkdir(parents=True, exist_ok=True)
    images = TINY_IMAGES * len(domains)
    config = WorldConfig(images=images, domains=domains, size=112, val_share=1 / 6, test_share=1 / 6)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build_world(folder, config, workers=1)  # what is there stays
    return folder


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of `objects` and `rooms`, 24 pictures of 112 pixels; seconds to make."""
    return _build(tmp_path_factory, "tiny_world", ("objects", "rooms"))


@pytest.fixture(scope="session")
def tiny_people_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of `people`, 12 pictures of 112 pixels; skipped until Anny has been built once on this machine."""
    pytest.importorskip("anny", reason="needs the extra `world`")
    from codistill.bodies.anny import anny_is_built

    if not anny_is_built():
        pytest.skip(
            "Anny is not built yet (one to four minutes); any `codistill world build` with people does it"
        )
    return _build(tmp_path_factory, "tiny_people_world", ("people",))


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
