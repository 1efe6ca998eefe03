"""Write encoders to the Hugging Face hub, or to folders in its format; see `weights/hub.py`.

    encoder.save_pretrained("folder")                 config.json, model.safetensors, README.md
    encoder.push_to_hub("ORG/NAME")                   needs the extra `hf` and a login (`hf auth login`)

The environment variable `HF_ENDPOINT` overrides the hub's address.
"""

import os
import tempfile
from pathlib import Path
from typing import Any, cast

from codistill.errors import CheckpointError, MissingExtraError
from codistill.weights.contents import EncoderWeights
from codistill.weights.hub import write_hub_folder


class HubEncoder:
    """Mixin of `ViTEncoder` with the hub's methods."""

    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the encoder as a folder in the hub's format.

        Raises:
            CheckpointError: if the folder exists and may not be replaced.
        """
        return write_hub_folder(folder, self.weights(), overwrite=overwrite)

    def push_to_hub(self, repo_id: str, *, private: bool = False, message: str = "Upload an encoder") -> str:
        """Upload the encoder; the repository is created if it does not exist.

        Args:
            repo_id: `ORG/NAME`.
            private: whether a new repository is private.
            message: commit message.

        Returns:
            The address of the commit.

        Raises:
            CheckpointError: if the hub refuses.
            MissingExtraError: without huggingface_hub.
        """
        hub = hub_client()
        api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
        with tempfile.TemporaryDirectory() as place:
            folder = self.save_pretrained(Path(place) / "model")
            try:
                api.create_repo(repo_id, private=private, exist_ok=True)
                return str(api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message))
            except (OSError, ValueError) as error:  # HTTP errors are OSErrors
                raise CheckpointError(f"{repo_id}: the hub refused ({first_line(error)})") from error

    def weights(self) -> EncoderWeights:
        """The encoder as `EncoderWeights`, which share its tensors."""
        encoder = cast(Any, self)
        spec = encoder.spec
        return EncoderWeights(
            config=encoder.config,
            tensors=encoder.state_dict(),
            layout="codistill encoder",
            name=spec.name,
            mean=tuple(spec.mean),
            std=tuple(spec.std),
            licence=spec.licence,
        )


def hub_client() -> Any:
    """The module `huggingface_hub`.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtraError("huggingface_hub", "hf", "The Hugging Face hub") from error
    return huggingface_hub


def first_line(error: Exception) -> str:
    """The first line of an error's text, shortened."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
