"""Relocalization: estimate the relative pose of two views.

`task` Map-free's scores · `model` methods that locate cameras · `baselines` methods that need no head · `score` errors
and columns · `mapfree` submissions.
"""
