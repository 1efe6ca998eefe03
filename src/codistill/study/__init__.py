"""Studies: rows (a recipe or an encoder) × seeds × evaluations, run cell by cell, and tables of the results.

`config`: the YAML. `cells`: what is to be done, in order. `runner`, `claims`, `records`: run each cell once, by several
processes together. `results`, `tables`, `render`: scores over seeds and images, as Markdown, LaTeX and HTML.
"""
