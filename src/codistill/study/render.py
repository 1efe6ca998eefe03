"""Write grids as Markdown, as LaTeX (booktabs), and as one self-contained HTML page."""

import html
import re
from collections.abc import Sequence

from codistill.study.tables import Entry, Grid

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "–": "--",
    "±": r"$\pm$",
    "√": r"$\sqrt{\;}$",
    "°": r"$^\circ$",
    "²": "$^2$",
    "³": "$^3$",
    "δ": r"$\delta$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
}
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:72rem;padding:1rem;color:#1d2330;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;min-width:60%}
th,td{padding:.35rem .7rem;text-align:right;border-bottom:1px solid #e3e6ec;vertical-align:top}
th:first-child,td:first-child{text-align:left}th{font-weight:600;border-bottom:2px solid #9aa3b2}
small{display:block;color:#667085;white-space:nowrap}.best{font-weight:700}p{color:#475467;font-size:.85rem}
@media(prefers-color-scheme:dark){body{background:#14171f;color:#e6e9f0}td{border-color:#2b303c}p,small{color:#98a2b3}}
"""


def markdown(grids: Sequence[Grid]) -> str:
    """Write all grids as Markdown."""
    return "\n".join(_markdown(grid) for grid in grids)


def _markdown(grid: Grid) -> str:
    def one_line(text: str) -> str:
        return " ".join(text.split()).replace("|", "\\|")

    def field(entry: Entry) -> str:
        text = f"**{entry.text}**" if entry.best else entry.text
        return one_line(f"{text} {entry.below}")

    lines = [f"### {one_line(grid.title)}", "", f"| {' | '.join(map(one_line, grid.header))} |"]
    lines.append("|" + "---|" * len(grid.header))
    lines += [f"| {' | '.join(map(field, row))} |" for row in grid.rows]
    return "\n".join([*lines, *(f"\n{note}" for note in grid.notes), ""])


def latex(grid: Grid) -> str:
    """Write a grid as a LaTeX table with booktabs rules."""

    def field(entry: Entry) -> str:
        text = rf"\textbf{{{_escaped(entry.text)}}}" if entry.best else _escaped(entry.text)
        return rf"{text} {{\scriptsize {_escaped(entry.below)}}}" if entry.below else text

    rows = [" & ".join(map(field, row)) + r" \\" for row in grid.rows]
    caption = " ".join((_sentence(grid.title), *grid.notes))
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_escaped(caption)}}}",
            rf"  \label{{tab:{re.sub(r'[^A-Za-z0-9-]+', '-', grid.name)}}}",
            rf"  \begin{{tabular}}{{l{'r' * (len(grid.header) - 1)}}}",
            r"    \toprule",
            "    " + " & ".join(map(_escaped, grid.header)) + r" \\",
            r"    \midrule",
            *(f"    {row}" for row in rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def page(title: str, about: str, grids: Sequence[Grid]) -> str:
    """Write all grids on one HTML page."""

    def field(entry: Entry) -> str:
        below = f"<small>{html.escape(entry.below)}</small>" if entry.below else ""
        mark = ' class="best"' if entry.best else ""
        return f"<td><span{mark}>{html.escape(entry.text)}</span>{below}</td>"

    parts = []
    for grid in grids:
        header = "".join(f"<th>{html.escape(text)}</th>" for text in grid.header)
        rows = "\n".join(f"<tr>{''.join(map(field, row))}</tr>" for row in grid.rows)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in grid.notes)
        parts.append(
            f'<h2 id="{html.escape(grid.name)}">{html.escape(grid.title)}</h2>\n<div class="wide"><table>'
            f"<thead><tr>{header}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>\n{notes}"
        )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(about)}</p>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
