"""Sets of several views: depth of a key view from its sources (Robust MVD), and relative poses within a set of views.

`data` sets of views · `predict` depths and relative poses with any two-view model · `depth`, `pose` the protocols as
tasks · `score` categories and confidence intervals.
"""
