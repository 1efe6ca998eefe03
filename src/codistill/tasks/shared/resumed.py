"""Resume fits: check whether data and encoder are still those that the fit began with.

HEAD/run/inputs.parquet        inputs when the engine's run began; changes are printed; refused for a finished head
    data_changes.json          changes during the training
HEAD/…/STAGE-HASH/             a stored stage (heads in training); other inputs get another folder
"""

import json
from pathlib import Path

from codistill.errors import ConfigError
from codistill.files.inputs import Inputs, Part, compare, read_inputs, write_inputs
from codistill.files.writing import make_directory, write_atomic
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.head_files import is_head
from codistill.tasks.shared.stored_arrays import INPUTS, Say
from codistill.weights.run import checkpoints

CHANGES = "data_changes.json"


def encoder_part(name: str, fingerprint: str) -> Part:
    """The encoder as an input that all rows share."""
    return f"encoder {name}", fingerprint


def with_encoder(inputs: Inputs, features: FrozenFeatures) -> Inputs:
    """Inputs of a fit: the data and the encoder."""
    part = encoder_part(features.config.encoder, features.fingerprint())
    return Inputs(inputs.rows, (*inputs.shared, part))


def check_resumed(out: Path, run: str, inputs: Inputs, say: Say) -> list[str]:
    """Compare the inputs at the start of a run with the current ones; called by one process.

    Args:
        out: the head's folder.
        run: name of the engine's folder inside it.
        inputs: the current inputs.
        say: prints what changed, if the run resumes nevertheless.

    Returns:
        All changes since the run began, for the record.

    Raises:
        ConfigError: if the head is finished, and was fitted on other inputs.
        CheckpointError: if the folder cannot be written.
    """
    folder = out / run
    make_directory(folder)
    old = read_inputs(folder / INPUTS)
    begun = bool(checkpoints(folder))
    changes: list[str] = json.loads((folder / CHANGES).read_text()) if (folder / CHANGES).exists() else []
    text = "" if old is None else compare(old, inputs, by_place=True).text
    if begun and text and is_head(out):
        raise ConfigError(
            f"{out} holds a head that was fitted on other data ({text}). Fit another one on today's (another --out), "
            "or use this one as it is (--head)."
        )
    if begun and old is None:
        say(
            f"{folder}: does not say what it was trained on so far ({INPUTS} is missing): whether that is "
            "still the same cannot be checked"
        )
    if begun and text:
        say(f"{folder}: resumes, but with other data than it began with ({text})")
        changes.append(text)
        write_atomic(folder / CHANGES, json.dumps(changes, indent=1) + "\n")
    if old is None or text:
        write_inputs(folder / INPUTS, inputs)
    return changes


def stage_folder(parent: Path, name: str, inputs: Inputs, say: Say) -> Path:
    """Folder of a stage, created if necessary; other inputs get another folder.

    Args:
        parent: folder that contains the stages.
        name: name of the stage, with a hash of its settings.
        inputs: inputs of the stage.
        say: prints what changed since an earlier stage of that name was begun.

    Raises:
        CheckpointError: if the folder cannot be created.
    """
    folder = parent / f"{name}-{inputs.digest()[:12]}"
    others = sorted(parent.glob(f"{name}-*/{INPUTS}"), key=lambda path: path.stat().st_mtime_ns)
    if not folder.exists() and others:
        old = read_inputs(others[-1])
        text = "" if old is None else compare(old, inputs, by_place=True).text
        say(f"{others[-1].parent}: was made from other data ({text}); begun anew in {folder.name}")
    make_directory(folder)
    write_inputs(folder / INPUTS, inputs)
    return folder
