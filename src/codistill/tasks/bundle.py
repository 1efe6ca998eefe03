"""Bundle a model for publication: an encoder and heads fitted on it, as half-precision files in one folder with a card.

`weights/shipped.py` defines the layout of the folder, so a model is found by name if `CODISTILL_MODELS` names the
folder's parent. Heads use the encoder in the same folder, so the folder can be moved. `card.json` holds the hashes of
the files and the outputs of encoder and heads for one synthetic picture; `codistill verify` computes these outputs
again and compares (`verify/models.py`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from codistill.encoders.fingerprint import encoder_fingerprint
from codistill.encoders.load import load_encoder
from codistill.errors import CheckpointError, ConfigError
from codistill.files.hashes import file_sha256
from codistill.files.json_files import read_json, write_json
from codistill.files.plain import to_plain
from codistill.files.tensors import write_tensors
from codistill.files.writing import folder_atomically, write_atomic
from codistill.tasks.card import model_card
from codistill.tasks.evaluation import METRICS
from codistill.tasks.probe import probe_encoder, probe_head
from codistill.tasks.registry import find_task, task_names
from codistill.tasks.shared.head_files import (
    ENCODER_OF_MODEL,
    FORMAT,
    RECORD,
    TENSORS,
    VERSION,
    HeadRecord,
    read_record,
)
from codistill.tasks.shared.record import provenance
from codistill.tasks.shared.scored_head import check_scored
from codistill.weights.contents import EncoderWeights, StudentWeights
from codistill.weights.export import write_export
from codistill.weights.half import half, rounded
from codistill.weights.layouts import read_weights
from codistill.weights.read import read_checkpoint
from codistill.weights.shipped import CARD, HEADS, read_card

LARGEST_FILE = 12_000_000
"""Largest size in bytes of a file that ships with the library."""
_SCORED = ("split", "images", "unit", "interval", "scores")
"""What a card takes over from a metrics file."""
_FOLDERS = re.compile(r"(?<![\w.])/(?:[\w.+-]+/)+")


@dataclass(frozen=True, kw_only=True)
class BundledHead:
    """A fitted head to bundle.

    Attributes:
        folder: the folder that `codistill fit` wrote.
        metrics: metrics file whose scores go into the card; None: that of the folder's own evaluation, if it has one.
    """

    folder: Path
    metrics: Path | None = None


def bundle_encoder(
    encoder: Path,
    out: Path,
    *,
    name: str,
    about: str,
    licence: str,
    command: Sequence[str],
    size: int,
    projectors: bool = True,
) -> Path:
    """Write the folder of a model: the encoder in half precision, and a card.

    Fit heads on the encoder that this function writes, not on the original one: rounding changes the encoder.

    Args:
        encoder: an export, run or weights file.
        out: folder to make.
        name: name of the model.
        about: text of the card: what the model is, what it was trained on, what it cannot do.
        licence: licence of the weights.
        command: the command line, for provenance.
        size: side in pixels of the synthetic picture for the check.
        projectors: include a student's projectors.

    Raises:
        CheckpointError: if the encoder cannot be read, or the folder exists.
        ConfigError: if a file would be too large to ship, or there are no projectors to leave out.
    """
    if out.exists():
        raise CheckpointError(f"{out}: exists already. Name another folder.")
    found = read_weights(encoder)
    if not projectors:
        if not isinstance(found, StudentWeights):
            raise ConfigError(f"{encoder} has no projectors to leave out: drop --no-projectors")
        found = found.encoder
    weights = half(_placeless(found), name=name, licence=licence)
    with folder_atomically(out) as building:
        write_export(building / "export", weights)
        for file in sorted((building / "export").iterdir()):
            file.rename(building / file.name)
        (building / "export").rmdir()
        _check_sizes(building)
        card = {"name": name, "licence": licence, "about": about, "heads": {}, "size": size}
        _finish(building, card, command)
    return out


def bundle_heads(model: Path, heads: Sequence[BundledHead], *, command: Sequence[str]) -> Path:
    """Add fitted heads to a model's folder; replace heads of the same tasks.

    Args:
        model: folder that `bundle_encoder` wrote.
        heads: heads fitted on that folder's encoder.
        command: the command line, for provenance.

    Raises:
        CheckpointError: if a folder does not hold a model, or not a head, or a file is no metrics file, or that of
            another head.
        ConfigError: if a head was fitted on another encoder, a file would be too large to ship, two heads are for one
            task, or scores are of another task, another encoder or a baseline.
    """
    card, parts = read_card(model), dict[str, tuple[HeadRecord, dict[str, Tensor]]]()
    own = encoder_fingerprint(load_encoder(model))
    for head in heads:  # nothing is written before all of them are known to be good
        record = read_record(head.folder)
        said = record.encoder.fingerprint
        differs = "nobody knows on which" if said is None else own.difference(said)
        if differs:
            raise ConfigError(
                f"{head.folder}: was fitted on another encoder than {model} ({differs}). Fit it on this folder: "
                f"codistill fit {record.task} --encoder {model} …"
            )
        if record.task in parts:
            raise ConfigError(
                f"{head.folder}: is a second head for {record.task}; a model has one: name one of them"
            )
        tensors = read_checkpoint(head.folder / TENSORS)
        halved = {name: rounded(tensor, name) for name, tensor in tensors.items()}
        _check_size(head.folder / TENSORS, sum(tensor.nbytes for tensor in halved.values()))
        parts[record.task] = record, halved
        card["heads"][record.task] = _facts(record, head)
    for task, (record, halved) in parts.items():
        _write_head(model / HEADS / task, record, halved)
    _finish(model, card, command)
    return model


def _write_head(folder: Path, record: HeadRecord, halved: dict[str, Tensor]) -> None:
    features = replace(record.features, encoder=ENCODER_OF_MODEL)
    data = replace(record.data, spec=_without_folders(record.data.spec))
    moved = replace(record, features=features, data=data, place="")
    plain = {"format": FORMAT, "format_version": VERSION, **to_plain(moved)}
    plain["provenance"] = _scrubbed(record.provenance)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / TENSORS, halved, {"format": FORMAT})
    write_json(folder / RECORD, plain)


def _facts(record: HeadRecord, head: BundledHead) -> dict[str, Any]:
    """Collect a head's entry in the card: how it was fitted, and its scores."""
    file = head.metrics or head.folder / "evaluation" / METRICS
    facts: dict[str, Any] = {
        "data": _without_folders(record.data.spec),
        "samples": record.data.samples,
        "fitted": _scrubbed(record.provenance),
        "scores": {},
    }
    if file.is_file():
        metrics = read_json(file)
        scored = str(metrics.get("task"))
        if scored not in task_names() or any(key not in metrics for key in _SCORED):
            raise CheckpointError(f"{file}: is not the metrics file of an evaluation of a head")
        task = find_task(scored)
        if record.task not in (task.name, task.heads):
            raise ConfigError(
                f"{file}: has scores of {scored}, and {head.folder} is a head for {record.task}"
            )
        check_scored(file, head.folder)
        if metrics.get("other_encoder") or metrics.get("baseline"):
            what = f"the baseline {metrics['baseline']}" if metrics.get("baseline") else "another encoder"
            raise ConfigError(
                f"{file}: has scores with {what}, not of {head.folder} on its own encoder. Score it: codistill "
                f"evaluate {scored} --head {head.folder}"
            )
        facts |= {key: metrics[key] for key in _SCORED}
        facts["scored"] = _scrubbed(metrics.get("provenance", {}))
    elif head.metrics is not None:
        raise CheckpointError(f"{file}: no such metrics file")
    return facts


def _finish(folder: Path, card: dict[str, Any], command: Sequence[str]) -> None:
    """Write card.json and README.md for the files in the folder."""
    card["checks"] = {"encoder": probe_encoder(folder, card["size"])}
    for task in card["heads"]:
        answer = probe_head(folder, task, card["size"])
        if answer is not None:
            card["checks"][task] = answer
    files = [
        path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in (CARD, "README.md")
    ]
    card["files"] = {str(path.relative_to(folder)): file_sha256(path) for path in files}
    card["provenance"] = _scrubbed(provenance(list(command)))
    write_json(folder / CARD, card)
    write_atomic(folder / "README.md", model_card(card))


def _check_sizes(folder: Path) -> None:
    for path in folder.rglob("*.safetensors"):
        _check_size(path, path.stat().st_size)


def _check_size(path: Path, size: int) -> None:
    if size > LARGEST_FILE:
        raise ConfigError(
            f"{path.name} has {size / 1e6:.1f} MB; files that ship have at most {LARGEST_FILE / 1e6:g} MB. Take a "
            "smaller encoder or head."
        )


def _without_folders(spec: str) -> str:
    kind, colon, place = spec.partition(":")
    return f"{kind}:{Path(place).name}" if colon else Path(spec).name


def _placeless(weights: EncoderWeights | StudentWeights) -> EncoderWeights | StudentWeights:
    """Remove folders of the local machine from the provenance of weights."""
    if isinstance(weights, EncoderWeights):
        return replace(weights, extra=_scrubbed(weights.extra))
    encoder = _placeless(weights.encoder)
    assert isinstance(encoder, EncoderWeights)
    teachers = tuple(_scrubbed(teacher) for teacher in weights.teachers)
    return replace(weights, encoder=encoder, recipe=_scrubbed(weights.recipe), teachers=teachers)


def _scrubbed(value: Any) -> Any:
    """Remove folders from all paths in a nested value; paths below the current directory become relative to it."""
    if isinstance(value, str):
        return _FOLDERS.sub("", value.replace(f"{Path.cwd()}/", ""))
    if isinstance(value, Mapping):
        return {key: _scrubbed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_scrubbed(item) for item in value]
    return value
