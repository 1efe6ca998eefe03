"""Relative pose of two views.

`task` Map-free's scores · `model` locates cameras · `baselines` need no head · `score` errors and columns · `pictures`
of matches · `mapfree` submissions.
"""
