"""Write tensors to safetensors files, completely or not at all; equal contents are equal files."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from codistill.files.writing import atomically


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str] | None = None) -> None:
    """Write tensors by name, and a header of texts; see `atomically`."""
    with atomically(path) as temporary:
        save_file(_unshared(tensors), temporary, metadata=None if header is None else dict(header))
        _sort_header(temporary)
        temporary.chmod(0o644)  # safetensors creates files only for their owner


def _sort_header(path: Path) -> None:
    """Sort the header's texts: safetensors writes them in another order each time, so that hashes would differ."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        fields = json.loads(file.read(size))
        texts = fields.get("__metadata__", {})
        fields |= {"__metadata__": dict(sorted(texts.items()))} if texts else {}
        content = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
        if len(content) <= size:  # as long as before, up to padding
            file.seek(8)
            file.write(content.ljust(size))


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to the host, contiguous and each with its own memory; tied weights are written twice."""
    seen: set[int] = set()
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        whole = tensor.detach().cpu().contiguous()
        result[name] = whole.clone() if whole.untyped_storage().data_ptr() in seen else whole
        seen.add(whole.untyped_storage().data_ptr())
    return result
