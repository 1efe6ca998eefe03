"""Folders of the hub's form, and a round trip through a server that speaks the hub's routes."""

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from codistill.encoders.from_hub import from_pretrained
from codistill.encoders.load import load_encoder
from codistill.encoders.vit import ViTEncoder
from codistill.errors import CheckpointError

ENCODER = "random:vit_tiny,dim=24,depth=1,num_heads=2,image_size=28,num_registers=1"
IMAGES = torch.randn(1, 3, 28, 42, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def encoder() -> ViTEncoder:
    found = load_encoder(ENCODER)
    assert isinstance(found, ViTEncoder)
    return found


def test_a_folder_has_the_hubs_names_and_gives_the_same_tokens(encoder: ViTEncoder, tmp_path: Path) -> None:
    folder = encoder.save_pretrained(tmp_path / "model")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert load_file(folder / "model.safetensors").keys() == encoder.state_dict().keys()
    for loaded in (from_pretrained(folder), load_encoder(folder)):
        assert torch.equal(loaded(IMAGES).patches, encoder(IMAGES).patches)
        assert loaded.spec.licence == encoder.spec.licence
    assert not any(p.requires_grad for p in from_pretrained(folder).parameters())
    _, head, text = (folder / "README.md").read_text().split("---\n")
    said = yaml.safe_load(head)
    assert said["license"] == "other" and said["license_name"] == "none (random weights)"
    assert "codistill.from_pretrained" in text and "1 blocks of width 24" in text


def test_a_folder_is_only_replaced_if_asked_and_never_if_it_holds_something_else(
    encoder: ViTEncoder, tmp_path: Path
) -> None:
    folder = encoder.save_pretrained(tmp_path / "model")
    with pytest.raises(CheckpointError, match="overwrite=True"):
        encoder.save_pretrained(folder)
    encoder.save_pretrained(folder, overwrite=True)
    (folder / "notes.txt").touch()
    with pytest.raises(CheckpointError, match=r"holds notes.txt. Name another folder\."):
        encoder.save_pretrained(folder, overwrite=True)


def test_places_that_are_none_are_said(tmp_path: Path, encoder: ViTEncoder) -> None:
    with pytest.raises(CheckpointError, match="a repository of the hub is called ORG/NAME"):
        from_pretrained("model")
    with pytest.raises(CheckpointError, match="has no revisions"):
        from_pretrained(encoder.save_pretrained(tmp_path / "m"), revision="v1")


class Hub(http.server.BaseHTTPRequestHandler):
    """Files of one repository: created, committed, listed and fetched as on the hub."""

    files: dict[str, bytes]
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def _send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), status, Content_Type="application/json")

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        name = path.rpartition("/")[2]
        if path.startswith("/api/models/me/model") and self.files:
            listed = [
                {"rfilename": file, "type": "file", "path": file, "size": len(data)}
                for file, data in self.files.items()
            ]
            if "/tree/" in path:
                self._json([{**row, "oid": "0" * 40} for row in listed])
            else:
                self._json(
                    {"id": "me/model", "modelId": "me/model", "sha": "a" * 40, "siblings": listed, "tags": []}
                )
        elif path.startswith("/me/model/resolve/") and name in self.files:
            data = self.files[name]
            etag = f'"{hashlib.sha1(data).hexdigest()}"'
            self._send(data, X_Repo_Commit="a" * 40, ETag=etag, Accept_Ranges="bytes")
        else:
            self._send(b"{}", 404, X_Error_Code="RepoNotFound")

    do_HEAD = do_GET  # noqa: N815 (the base class calls it so)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/api/repos/create"):
            self._json({"url": "me/model", "id": "me/model", "name": "me/model"})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            self._json(
                {
                    "files": [
                        {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked
                    ]
                }
            )
        elif "/commit/" in self.path:
            for line in body.decode().splitlines():
                said = json.loads(line)
                if said["key"] == "file":
                    self.files[said["value"]["path"]] = base64.b64decode(said["value"]["content"])
            url = f"http://{self.headers['Host']}/me/model/commit/{'a' * 40}"
            self._json({"commitUrl": url, "commitOid": "a" * 40, "success": True})
        else:
            self._json({})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    pytest.importorskip("huggingface_hub", reason="needs the extra `hf`")
    handler = type("OneHub", (Hub,), {"files": {}})
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{running.server_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.delenv("CODISTILL_OFFLINE", raising=False)
    yield handler
    running.shutdown()


def test_an_encoder_goes_to_the_hub_and_comes_back(encoder: ViTEncoder, server: type[Hub]) -> None:
    with pytest.raises(CheckpointError, match="me/model: cannot be fetched"):
        from_pretrained("me/model")
    assert "/me/model/commit/" in encoder.push_to_hub("me/model")
    assert set(server.files) == {"README.md", "config.json", "model.safetensors"}
    loaded = from_pretrained("me/model")
    assert torch.equal(loaded(IMAGES).patches, encoder(IMAGES).patches)
