"""Artefacts of an encoder's patch tokens as scores: nothing is fitted.

`layouts` pictures of folders and worlds · `score` an encoder's tokens of all of them, and what each contributes ·
`task` the scores.
"""
