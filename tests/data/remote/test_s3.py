"""The same over S3's protocol: a local server from the package moto, with failures put before it."""

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("s3fs", reason="the extra `remote` is not installed")
moto_server = pytest.importorskip("moto.server", reason="moto's server is not installed")
from werkzeug.serving import make_server  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1]))
from sample_pictures import write_pictures  # noqa: E402

from codistill.commands.index import main as index  # noqa: E402
from codistill.data import AugmentConfig, LoaderConfig, MixConfig, SourceConfig, train_loader  # noqa: E402
from codistill.errors import StoreError  # noqa: E402
from codistill.files.remote.config import RemoteConfig  # noqa: E402
from codistill.files.remote.store import filesystem  # noqa: E402

NAMES = [f"{n:02d}.jpg" for n in range(8)]
SECRET = "very-secret-key-0123456789"


class Faulty:
    """A WSGI application whose answers to GET may fail: `fault(path, number)` gives a status, or None."""

    def __init__(self, application: Any) -> None:
        self.application, self.number, self.fault = application, 0, lambda path, number: None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "GET":
            self.number += 1
            status = self.fault(environ["PATH_INFO"], self.number)
            if status is not None:
                start_response(status, [("Content-Length", "0")])
                return [b""]
        return self.application(environ, start_response)


@pytest.fixture(scope="module")
def store() -> Iterator[Faulty]:
    faulty = Faulty(moto_server.DomainDispatcherApplication(moto_server.create_backend_app))
    server = make_server("127.0.0.1", 0, faulty, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    values = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "testing-access-key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    filesystem("s3://bucket").mkdir("bucket")
    yield faulty
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    server.shutdown()


def test_packed_to_s3_and_trained_from_it(
    store: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODISTILL_CACHE", str(tmp_path / "cache"))
    write_pictures(tmp_path / "images", NAMES)
    for out in (str(tmp_path / "p"), "s3://bucket/p"):
        assert (
            index(
                ["s", "--root", str(tmp_path / "images"), "--out", out, "--pack", "--images-per-shard", "3"]
            )
            == 0
        )

    def batches(path: str) -> list[tuple[tuple[str, ...], bytes]]:
        source = SourceConfig(name="s", path=path)
        loader = LoaderConfig(batch_size=4, image_size=28, num_workers=0, remote=RemoteConfig(patience=30.0))
        made = train_loader((source,), MixConfig(), AugmentConfig(), loader, seed=0, total_steps=4)
        return [(batch.names, batch.images.numpy().tobytes()) for batch in made]

    local = batches(str(tmp_path / "p"))
    store.fault = lambda path, number: "503 Slow Down" if path.endswith(".tar") and number % 3 == 0 else None
    assert batches("s3://bucket/p") == local
    monkeypatch.setenv("CODISTILL_CACHE", str(tmp_path / "other"))
    store.fault = lambda path, _: "403 Forbidden" if path.endswith("000001.tar") else None
    with pytest.raises(
        StoreError, match=r"s3://bucket/p/shard-000001\.tar: the store refuses access"
    ) as raised:
        batches("s3://bucket/p")
    assert SECRET not in str(raised.value)
    monkeypatch.setenv("CODISTILL_CACHE", str(tmp_path / "third"))
    store.fault = lambda path, number: None
    filesystem("s3://bucket").rm_file("s3://bucket/p/shard-000002.tar")
    with pytest.raises(StoreError, match=r"shard-000002\.tar: no such object"):
        batches("s3://bucket/p")
