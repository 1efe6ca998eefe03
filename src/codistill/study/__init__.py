"""Studies: rows (a recipe or an encoder) × seeds × evaluations, run cell by cell, and tables of what came out.

`config` the YAML · `cells` what is to be done, in order · `runner`, `claims`, `records` doing it, once each, by several
processes · `results`, `tables`, `render` scores over seeds and images, as Markdown, LaTeX and HTML.
"""
