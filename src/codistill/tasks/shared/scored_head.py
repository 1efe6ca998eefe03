"""Tell which head an evaluation scored: metrics.json holds a SHA-256 of the head, which is compared before its use.

A fit with other settings replaces the head in a folder, whose earlier evaluation stays.
"""

import json
from pathlib import Path

from codistill.errors import CheckpointError
from codistill.files.hashes import file_sha256, text_sha256
from codistill.files.json_files import read_json
from codistill.tasks.shared.head_files import RECORD, TENSORS, is_head, read_record

HEAD_SHA256 = "head_sha256"
"""Key in metrics.json; older files and results without a head lack it."""


def head_sha256(head: Path) -> str:
    """SHA-256 of all that determines a head's answers, which moving its folder does not change.

    The tensors alone do not: those of `knn` are the classes of the training images, whatever the features.

    Raises:
        CheckpointError: if there is no head, or a damaged one.
    """
    read_record(head)  # refuses a damaged one
    record = read_json(head / RECORD)
    features = {name: value for name, value in record["features"].items() if name != "encoder"}
    data = {name: record["data"].get(name) for name in ("samples", "classes")}
    fingerprint = (record["encoder"].get("fingerprint") or {}).get("weights")
    said = [record["task"], features, data, fingerprint, record.get("test"), record.get("head")]
    return text_sha256(f"{file_sha256(head / TENSORS)} {json.dumps(said, sort_keys=True)}")


def check_scored(metrics: Path, head: Path) -> None:
    """Refuse scores of another head than the one in a folder.

    Args:
        metrics: metrics.json of an evaluation; without a SHA-256 of its head it is accepted.
        head: the folder; accepted if it holds no head.

    Raises:
        CheckpointError: if the scores are of another head, or a file cannot be read.
    """
    if not is_head(head):
        return
    numbers = read_json(metrics)
    said = numbers.get(HEAD_SHA256)
    if said is not None and said != head_sha256(head):
        raise CheckpointError(
            f"{metrics}: has scores of another head than the one in {head}, which may have been fitted again since. "
            f"Score this one (codistill evaluate {numbers.get('task')} --head {head}), or move {metrics.parent} away"
        )
