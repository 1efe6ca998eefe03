"""Write a model folder in the Hugging Face hub's format: config.json, model.safetensors, and the model card README.md.

It is an export under the hub's file names. `weights/export.py` reads both, so that `load_encoder(FOLDER)` accepts it.
The content is that of `PyTorchModelHubMixin`: the state dict, the constructor's arguments as JSON, and a model card.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codistill.errors import CheckpointError
from codistill.files.json_files import read_json
from codistill.files.writing import folder_atomically, write_atomic
from codistill.weights.contents import EncoderWeights, StudentWeights
from codistill.weights.export import CONFIG, ENCODER, HUB_CARD, HUB_ENCODER, write_export

HUB_FILES = (CONFIG, HUB_ENCODER, "projectors.safetensors", HUB_CARD)
"""All files that such a folder may hold."""


def write_hub_folder(
    folder: str | Path, weights: EncoderWeights | StudentWeights, *, overwrite: bool = False
) -> Path:
    """Write a model's folder.

    Args:
        folder: the folder to create.
        weights: an encoder, or a student with its projectors.
        overwrite: replace an existing folder if it holds no other files.

    Raises:
        CheckpointError: if the folder exists and may not be replaced, or cannot be written.
    """
    folder = Path(folder).expanduser()
    other = {path.name for path in folder.iterdir()} - set(HUB_FILES) if folder.is_dir() else set()
    if folder.exists() and (other or not overwrite):
        holds = f" and holds {', '.join(sorted(other)[:3])}" if other else ""
        advice = "Name another folder" if other else "Name another folder, or replace it: overwrite=True"
        raise CheckpointError(f"{folder}: exists already{holds}. {advice}.")
    with folder_atomically(folder) as building:
        made = write_export(building / "made", weights)
        (made / ENCODER).rename(made / HUB_ENCODER)
        write_atomic(made / HUB_CARD, model_card(read_json(made / CONFIG)))
        for path in made.iterdir():
            path.rename(building / path.name)
        made.rmdir()
    return folder


def model_card(config: Mapping[str, Any]) -> str:
    """The text of a model card, from the model's `config.json`, starting with the hub's metadata."""
    name, licence, made = str(config["name"]), str(config["licence"]), config["architecture"]
    is_network = made.get("type") == "timm"
    family = "timm" if is_network else "vision-transformer"
    spdx = {"Apache-2.0": "apache-2.0", "MIT": "mit"}.get(licence, "other")
    head = ["---", f"license: {spdx}"]
    head += [f"license_name: {_quoted(licence)}"] if spdx == "other" else []
    head += ["library_name: codistill", "pipeline_tag: image-feature-extraction", "tags:"]
    head += [f"  - {tag}" for tag in ("codistill", family, "model_hub_mixin", "pytorch_model_hub_mixin")]
    kind = (
        f"The network {made['model']} of timm: width {made['dim']}, {made['patch_size']} pixels per token"
        if is_network
        else f"A vision transformer: {made['depth']} blocks of width {made['dim']} with {made['num_heads']} heads, "
        f"patches of {made['patch_size']} pixels"
    )
    sizes = f"{kind}, {config['num_parameters']:,} parameters."
    use = [
        "```python",
        "import codistill",
        "",
        'encoder = codistill.from_pretrained("ORG/NAME")      # or this folder',
        'tokens = encoder(encoder.preprocess("photo.jpg", size=448))',
        "```",
    ]
    lines = [*head, "---", "", f"# {name}", "", sizes, "", f"Licence of the weights: {licence}.", "", *use]
    if config.get("teachers"):
        rows = [
            f"| {t.get('name')} | {t.get('encoder', '')} | {t.get('licence', '')} |"
            for t in config["teachers"]
        ]
        lines += ["", "Distilled from:", "", "| teacher | encoder | licence |", "|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
