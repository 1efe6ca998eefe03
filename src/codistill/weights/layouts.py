"""Read weights of any known layout: a file or folder in, checked `EncoderWeights` or `StudentWeights` out.

The layout of a file is recognized by the names of its tensors. `LAYOUTS` lists all layouts, each a test and a reader.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from codistill.errors import CheckpointError, ConfigError
from codistill.weights.contents import EncoderWeights, StudentWeights
from codistill.weights.export import is_export, read_export, read_export_file
from codistill.weights.layout_mast3r import (
    is_mast3r,
    is_two_view_decoder,
    read_mast3r,
    refuse_two_view_decoder,
)
from codistill.weights.layout_student import is_student, read_student
from codistill.weights.layout_vit import (
    is_dinov2,
    is_dinov2_training,
    is_multihmr,
    read_dinov2,
    read_dinov2_training,
    read_multihmr,
)
from codistill.weights.read import read_checkpoint, read_header
from codistill.weights.run import is_run, read_run
from codistill.weights.state import StateDict
from codistill.weights.stated import Stated

Weights = EncoderWeights | StudentWeights
NOTHING_STATED = Stated()


@dataclass(frozen=True)
class Layout:
    """A test that recognizes a layout, and its reader, which also gets the facts stated by the caller."""

    matches: Callable[[StateDict], bool]
    read: Callable[[StateDict, Stated], Weights]


LAYOUTS: dict[str, Layout] = {
    "DUNE / UNIC student": Layout(is_student, read_student),
    "Multi-HMR": Layout(is_multihmr, read_multihmr),
    "MASt3R / DUSt3R": Layout(is_mast3r, read_mast3r),
    "DUNE-MASt3R decoder": Layout(is_two_view_decoder, refuse_two_view_decoder),
    "DINOv2 training": Layout(is_dinov2_training, read_dinov2_training),
    "DINOv2": Layout(is_dinov2, read_dinov2),
}
"""Every layout of a single file, in the order they are tried."""

_ELSEWHERE = {
    "embeddings.patch_embeddings.projection.weight": "a transformers model: load its folder as hf:FOLDER",
    "embeddings.patch_embeddings.weight": "a transformers model: load its folder as hf:FOLDER",
    "reg_token": "a timm model: load it as timm:NAME",
    "storage_tokens": "in DINOv3's own layout: load the published weights by name, e.g. dinov3_vitb16 (`codistill "
    "inspect` lists the names)",
}
"""What a file is that codistill reads by another way, by a tensor that only such files hold."""


def detect_layout(state: StateDict) -> str:
    """The name of a file's layout, a key of `LAYOUTS`.

    Raises:
        CheckpointError: if it has none of them; the text lists them and some names in the file.
    """
    other = next((text for key, text in _ELSEWHERE.items() if state.has(key)), None)
    if other:
        raise CheckpointError(f"{state.path}: is {other}")
    for name, layout in LAYOUTS.items():
        if layout.matches(state):
            return name
    names = list(state.names.values())
    raise CheckpointError(
        f"{state.path}: has no known layout. Its {len(names)} tensors are called {', '.join(names[:4])} … . "
        f"Known layouts: {', '.join(LAYOUTS)}, and codistill's runs and exports. For another network, write an "
        "adapter: codistill.register_encoder."
    )


def read_weights(
    path: str | Path, *, num_heads: int | None = None, stated: Stated = NOTHING_STATED
) -> Weights:
    """Read everything that codistill can use in a weights file, a run or an export.

    Args:
        path: a file of any known layout, a run folder (or one of its checkpoints), or an export folder.
        num_heads: attention heads of the encoder; a shorthand for that field of `stated`.
        stated: facts that are not in the tensors; they override the file's. Runs and exports need none.

    Returns:
        `StudentWeights` for students, `EncoderWeights` for everything else. Tensors may be memory-mapped.

    Raises:
        CheckpointError: if it cannot be read; the text says the file, what was found, what was expected, what to do.
    """
    path = Path(path).expanduser()
    stated = Stated(num_heads=num_heads).over(stated)
    if is_run(path):
        _refuse_stated(path, "run", stated)
        return read_run(path)
    if is_export(path):
        _refuse_stated(path, "export", stated)
        return read_export(path)
    if path.is_dir() and (path / "config.json").is_file():
        raise CheckpointError(
            f"{path}: is not a codistill export. If it is a transformers model, load it as hf:{path}"
        )
    state = replace(StateDict.of_checkpoint(path, read_checkpoint(path)), header=read_header(path))
    header = state.header
    if (own := read_export_file(state, header)) is not None:
        _refuse_stated(path, "export", stated)
        return own
    weights = LAYOUTS[detect_layout(state)].read(state, stated)
    return _with_header(weights, header.get("license") or header.get("licence"))


def read_encoder_weights(
    path: str | Path, *, num_heads: int | None = None, stated: Stated = NOTHING_STATED
) -> EncoderWeights:
    """As `read_weights`, but only the encoder of a student."""
    weights = read_weights(path, num_heads=num_heads, stated=stated)
    return weights.encoder if isinstance(weights, StudentWeights) else weights


def read_student_weights(
    path: str | Path, *, num_heads: int | None = None, stated: Stated = NOTHING_STATED
) -> StudentWeights:
    """As `read_weights`, but only for students with projectors.

    Raises:
        CheckpointError: if it has no projector.
    """
    weights = read_weights(path, num_heads=num_heads, stated=stated)
    if not isinstance(weights, StudentWeights) or not weights.projectors:
        layout = (weights.encoder if isinstance(weights, StudentWeights) else weights).layout
        raise CheckpointError(
            f"{path}: holds an encoder without projectors (layout {layout}). Load it with load_encoder; "
            "projections need a student: a released DUNE file, a run, or an export with projectors.safetensors."
        )
    return weights


def _refuse_stated(path: Path, kind: str, stated: Stated) -> None:
    if given := stated.given:
        raise ConfigError(
            f"{path}: {', '.join(given)} cannot be given for it: it is a codistill {kind}, which has its own "
            "architecture and normalization"
        )


def _with_header(weights: Weights, licence: str | None) -> Weights:
    """Weights with the licence from a safetensors header, if no other is known."""
    encoder = weights.encoder if isinstance(weights, StudentWeights) else weights
    if not licence or not encoder.licence.startswith("unknown"):
        return weights
    encoder = replace(encoder, licence=licence)
    return replace(weights, encoder=encoder) if isinstance(weights, StudentWeights) else encoder
