"""Measure artefacts in an encoder's patch tokens; nothing is fitted.

`layouts` opens pictures of folders and worlds · `score` encodes all pictures and computes each picture's contribution
to the scores · `task` defines the scores.
"""
