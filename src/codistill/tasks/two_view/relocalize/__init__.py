"""Relative pose of two views.

`task` scores as Map-free has them · `model` what locates cameras · `baselines` what needs no head · `score` errors and
columns · `pictures` of matches · `mapfree` submissions.
"""
