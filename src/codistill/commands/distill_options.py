"""Parse teachers and sources on a command line."""

from codistill.data import SourceConfig
from codistill.encoders.network import network_stride
from codistill.encoders.timm_model import PREFIX as TIMM
from codistill.errors import ConfigError, unknown_name
from codistill.files.dataclass_fields import path_of_flag
from codistill.files.urls import without_secrets
from codistill.nn.vit import VIT_SIZES
from codistill.recipes.recipe import StudentConfig
from codistill.teachers.teacher import TeacherConfig
from codistill.types import TokenKind


def parse_teachers(texts: list[str]) -> tuple[TeacherConfig, ...]:
    """Parse texts `NAME,E[,domain=D][,kinds=cls+patch][,weight=W]`; E as for `load_encoder`."""
    return tuple(_teacher(text) for text in texts)


def _teacher(text: str) -> TeacherConfig:
    name, _, encoder = text.partition(",")
    own: dict[str, str] = {}
    kept = []
    for part in encoder.split(","):
        key, _, value = part.partition("=")
        if key in own:
            raise ConfigError(f"--teacher {text}: {key} is given twice")
        if key in ("domain", "kinds", "weight") and value:
            own[key] = value
        else:
            kept.append(part)
    kinds: tuple[TokenKind, ...] | None = None
    if "kinds" in own:
        parts = own["kinds"].split("+")
        if not set(parts) <= {"cls", "patch"}:
            raise ConfigError(
                f"--teacher {text}: kinds must be cls, patch or cls+patch; got {own['kinds']!r}"
            )
        kinds = tuple("cls" if part == "cls" else "patch" for part in parts)
    if not name or not encoder:
        raise ConfigError(f"--teacher {text}: write NAME,E, e.g. --teacher dino,dinov2_vits14,domain=generic")
    try:
        weight = float(own.get("weight", 1.0))
    except ValueError:
        raise ConfigError(f"--teacher {text}: weight must be a number; got {own['weight']!r}") from None
    return TeacherConfig(
        name=name,
        encoder=",".join(kept),
        domain=own.get("domain", "generic"),
        kinds=kinds,
        weight=weight,
    )


def parse_sources(texts: list[str]) -> tuple[SourceConfig, ...]:
    """Parse texts `NAME,DOMAIN,PATH[,root=DIR]`; PATH is a folder, list, manifest or shards, as a path or an address.

    The names in a list or a manifest are relative to `root`.
    """
    sources = []
    for text in texts:
        parts = text.split(",", 2)
        if len(parts) != 3 or not all(parts):
            raise ConfigError(
                f"--source {without_secrets(text)}: write NAME,DOMAIN,PATH, e.g. --source photos,generic,/data/photos "
                "(domains: generic, 3d, human, or your own word)"
            )
        path, mark, root = parts[2].rpartition(",root=")
        if mark and not (path and root):
            raise ConfigError(f"--source {without_secrets(text)}: write NAME,DOMAIN,PATH,root=DIR")
        sources.append(
            SourceConfig(name=parts[0], domain=parts[1], path=path or parts[2], root=root if mark else None)
        )
    return tuple(sources)


def student_fields(text: str) -> list[str]:
    """The fields that `--student E` stands for: a ViT size, or a network of timm, which replaces the recipe's student.

    Raises:
        ConfigError: for another kind of name.
    """
    default = StudentConfig()
    plain = {"dim": None, "depth": None, "num-heads": None, "num-registers": default.num_registers}
    if not text.startswith(TIMM):
        if text not in VIT_SIZES:
            raise ConfigError(
                f"{unknown_name('student', text, VIT_SIZES)} timm:NAME, a convolutional or hybrid network, will do as "
                "well; weights to start from are --student.init"
            )
        fields = {**plain, "size": text, "network": ""}
    else:
        plain |= {"size": default.size, "layer-scale": default.layer_scale}
        fields = {**plain, "network": text, "patch-size": network_stride(text)}
    return [part for name, value in fields.items() for part in (f"--student.{name}", str(value))]


def typed_fields(overrides: list[str]) -> set[str]:
    """Dotted paths of the recipe's fields on a command line: `engine.total_steps` for `--engine.total-steps`."""
    return {path_of_flag(text) for text in overrides if text.startswith("--")}
