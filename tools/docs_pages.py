"""Pages of the site that are made from the code, and links that lead out of `docs/`: a hook of MkDocs.

Made: a page for every command (its help), for every part of the API (mkdocstrings), of the recipes and of the known
weights. `CONTRIBUTING.md` and `CHANGELOG.md` become pages; other files of the checkout are named, not linked.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
AT_THE_TOP = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "README.md": "index.md"}
API: dict[str, tuple[str, ...]] = {
    "encoders": (
        "codistill.encoders.load",
        "codistill.encoders.base",
        "codistill.encoders.registry",
        "codistill.encoders.published",
        "codistill.types",
    ),
    "students": (
        "codistill.student.load",
        "codistill.student.student",
        "codistill.student.projectors",
        "codistill.teachers.teacher",
        "codistill.teachers.bank",
    ),
    "distillation": (
        "codistill.distill.objective",
        "codistill.distill.losses",
        "codistill.distill.terms",
        "codistill.distill.targets",
        "codistill.distill.sharing",
        "codistill.distill.dropping",
        "codistill.recipes.recipe",
    ),
    "training": (
        "codistill.engine.objective",
        "codistill.engine.loop",
        "codistill.engine.settings",
        "codistill.engine.optim",
        "codistill.analysis.run",
    ),
    "data": ("codistill.data.source", "codistill.data.loader_config", "codistill.data.mixing"),
    "tasks": (
        "codistill.tasks.task",
        "codistill.tasks.opening",
        "codistill.tasks.evaluation",
        "codistill.tasks.extraction.read",
    ),
    "perception": (
        "codistill.perception.perception",
        "codistill.perception.scene",
        "codistill.perception.config",
    ),
    "export": ("codistill.deploy.export", "codistill.deploy.config"),
    "metrics": (
        "codistill.metrics.segmentation",
        "codistill.metrics.depth",
        "codistill.metrics.normals",
        "codistill.metrics.classification",
        "codistill.metrics.human_mesh",
        "codistill.metrics.interval",
    ),
    "geometry": (
        "codistill.geometry.cameras",
        "codistill.geometry.projection",
        "codistill.geometry.procrustes",
        "codistill.geometry.pnp",
        "codistill.geometry.rotations",
    ),
    "weights": ("codistill.weights.known", "codistill.weights.cache", "codistill.weights.export"),
    "errors": ("codistill.errors",),
}
"""Pages of the API, each with its modules."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the places of generated pages in the navigation; leave out pages that do not exist."""
    made = dict(_pages())
    folders = {
        folder: [name for name in made if name.startswith(f"{folder}/")] for folder in ("commands", "api")
    }

    def kept(entry: Any) -> Any:
        if isinstance(entry, dict):
            ((title, inside),) = entry.items()
            if isinstance(inside, str):
                return {title: folders[inside]}
            return {title: [found for one in inside if (found := kept(one)) is not None]}
        return entry if entry in made or (Path(config.docs_dir) / entry).is_file() else None

    config.nav = [kept(entry) for entry in config.nav or ()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name, text in _pages():
        files.append(File.generated(config, name, content=text))
    return files


_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to files outside of `docs/` lead to their pages, or become names."""
    here = Path(page.file.src_path).parent

    def changed(link: re.Match[str]) -> str:
        text, target = link[1], link[2]
        if "://" in target or target.startswith(("#", "mailto:")):
            return link[0]
        path, hash_, anchor = target.partition("#")
        top = path.removeprefix("../")
        if page.file.src_path in ("contributing.md", "changelog.md"):
            top = "docs/" + top if not top.startswith("docs/") and top not in AT_THE_TOP else top
            if top.startswith("docs/"):
                return f"[{text}]({top.removeprefix('docs/')}{hash_}{anchor})"
        if top in AT_THE_TOP:
            up = "../" * len(here.parts)
            return f"[{text}]({up}{AT_THE_TOP[top]}{hash_}{anchor})"
        outside = (ROOT / "docs" / here / path).resolve()
        if outside.is_dir() or (ROOT / "docs" not in outside.parents and outside.exists()):
            return text if text.startswith("`") else f"{text} (`{outside.relative_to(ROOT)}`)"
        return link[0]

    return _LINK.sub(changed, markdown)


def _pages() -> Iterator[tuple[str, str]]:
    """Name and text of every generated page."""
    for name, page in AT_THE_TOP.items():
        if name != "README.md":
            yield page, (ROOT / name).read_text(encoding="utf-8")
    yield from _command_pages()
    for name, modules in API.items():
        body = "\n".join(f"::: {module}\n" for module in modules)
        yield f"api/{name}.md", f"# {name.capitalize()}\n\n{body}"
    yield "recipes.md", _recipes()
    yield "known-weights.md", _known_weights()


def _command_pages() -> Iterator[tuple[str, str]]:
    from codistill.commands.parsers.catalogue import command_lines, table

    about = table("codistill.cli", "COMMANDS")
    for name, (_, text) in about.items():
        parts = [f"# codistill {name}\n\n{text[:1].upper()}{text[1:]}.\n"]
        for line in command_lines().values():
            if line.words[0] == name:
                title = " ".join(line.words)
                parts += [f"## {title}\n"] if len(line.words) > 1 else []
                parts.append(f"```text\n{line.help().rstrip()}\n```\n")
        yield f"commands/{name}.md", "\n".join(parts)


def _recipes() -> str:
    from codistill.recipes.registry import RECIPES

    rows = [
        "| recipe | student | teachers | images of | batch |",
        "|---|---|---|---|---|",
    ]
    for name, recipe in RECIPES.items():
        teachers = ", ".join(teacher.name for teacher in recipe.teachers)
        rows.append(
            f"| `{name}` | {recipe.student.size} | {teachers} | {recipe.image_size} px | "
            f"{recipe.loader.batch_size} |"
        )
    return "\n".join(
        [
            "# Recipes",
            "",
            "Recipes of `codistill distill`, as they are in the code; `--print-config` prints every field of one.",
            "[Distilling an encoder](distillation.md) says how to change one, and how to write your own.",
            "",
            *rows,
            "",
        ]
    )


def _known_weights() -> str:
    from codistill.encoders.published import PUBLISHED
    from codistill.weights.known import KNOWN

    def yes(commercial: bool) -> str:
        return "yes, under its terms" if commercial else "no"

    files = [
        f"| `{known.name}` | {known.content} | {known.size or '?'} | [{known.licence}]({known.homepage}) | "
        f"{yes(known.commercial)} | {'published' if known.sha256 else 'none'} |"
        for known in KNOWN.values()
    ]
    models = [
        f"| `{model.name}` | `{model.encoder}` | {model.parameters:g} | [{model.licence}]({model.homepage}) | "
        f"{yes(model.commercial)} | {model.summary} |"
        for model in PUBLISHED.values()
    ]
    return "\n".join(
        [
            "# Known weights and their licences",
            "",
            "What `load_encoder`, `load_student` and every `--encoder` take by name. [Weights](weights.md) says what",
            "else they take, and where files are looked for. Licences are the publishers' own; read them before you",
            "build on weights, since what is distilled from a model can fall under its terms.",
            "",
            "## Files",
            "",
            "| name | content | size | licence | commercial use | SHA-256 |",
            "|---|---|---|---|---|---|",
            *files,
            "",
            "## By timm",
            "",
            "| name | model | parameters, M | licence | commercial use | `tokens.cls` |",
            "|---|---|---|---|---|---|",
            *models,
            "",
        ]
    )
