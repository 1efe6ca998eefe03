"""Tables of `codistill inspect`: plain data in, printed text out."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

WRAPPED = ("heads", "licence", "axes")
"""Columns of tables whose text may wrap."""

NOT_IN_TABLES = {
    "models that ship": ("path",),
    "known weights": ("url", "sha256", "also called"),
    "published encoders, by timm": ("encoder", "homepage", "tokens.cls"),
    "teachers": ("encoder", "patch_size"),
    "tensors": ("meaning",),
}
"""Entries that only --json prints."""


def show(description: dict[str, Any], console: Console) -> None:
    """Print plain values as one table of two columns, and each list of dictionaries as a further table."""
    facts = Table(show_header=False, box=None, pad_edge=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    tables = []
    for key, value in description.items():
        if key == "config" or value in (None, "", {}, [], ()):
            continue
        if key == "recipe" and isinstance(value, dict):
            value = _recipe_text(value)
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
            tables.append(_rows_table(key, list(value)))
        else:
            facts.add_row(key, escape(_as_text(value)))
    console.print(facts)
    for table in tables:
        console.print(table)


def _rows_table(title: str, rows: list[dict[str, Any]]) -> Table:
    """Convert rows to a table with the licence as the last column; only it, lists of heads and axes may wrap."""
    hidden = NOT_IN_TABLES.get(title, ())
    columns = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in hidden]
    columns.sort(key=lambda column: column == "licence")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        wrapped = column in WRAPPED
        table.add_column(
            column, no_wrap=not wrapped, overflow="fold", min_width=20 if column == "heads" else None
        )
    for row in rows:
        table.add_row(*(escape(_as_text(row.get(column, ""))) for column in columns))
    return table


def _recipe_text(recipe: dict[str, Any]) -> str:
    """Text of a recipe's top-level values; with all parts it would fill pages."""
    own = {
        key: value for key, value in recipe.items() if isinstance(value, (str, int, float)) and value != ""
    }
    return f"{_as_text(own)} (--json says all of it)"


def _as_text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_as_text(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_as_text(item) for item in value)
    return str(value)
