"""Load encoders from the Hugging Face hub, or from folders in its format: `codistill.from_pretrained("ORG/NAME")`.

The environment variable `HF_ENDPOINT` overrides the hub's address.
"""

import os
from pathlib import Path

from codistill.encoders.base import Encoder
from codistill.encoders.hub import first_line, hub_client
from codistill.encoders.load import load_encoder
from codistill.errors import CheckpointError
from codistill.weights.cache import is_offline
from codistill.weights.hub import HUB_FILES


def from_pretrained(what: str | Path, *, revision: str | None = None, train: bool = False) -> Encoder:
    """Load an encoder from a folder, or from a repository of the hub.

    Args:
        what: a folder (written by `save_pretrained`, or an export), or `ORG/NAME`.
        revision: branch, tag or commit of the repository.
        train: parameters require gradients; otherwise the encoder is frozen.

    Raises:
        CheckpointError: if it cannot be found or read.
        MissingExtraError: for a repository without huggingface_hub.
    """
    folder = Path(what).expanduser()
    if folder.exists():
        if revision is not None:
            raise CheckpointError(f"{folder}: a folder has no revisions: leave out revision={revision}")
        return load_encoder(folder, train=train)
    if str(what).count("/") != 1 or str(what).startswith(("/", ".", "~")):
        raise CheckpointError(f"{what}: no such folder, and a repository of the hub is called ORG/NAME")
    return load_encoder(_fetched(str(what), revision), train=train)


def _fetched(repo_id: str, revision: str | None) -> Path:
    hub = hub_client()
    try:
        return Path(
            hub.snapshot_download(
                repo_id,
                revision=revision,
                endpoint=os.environ.get("HF_ENDPOINT"),
                allow_patterns=list(HUB_FILES),
                local_files_only=is_offline(),
            )
        )
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{repo_id}: cannot be fetched from the hub ({first_line(error)}). Check the name and the network"
        ) from error
