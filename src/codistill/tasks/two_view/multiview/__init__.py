"""Several views: depth of a key view from its sources (Robust MVD), and relative poses within a set of views.

`data` what is measured · `predict` depths and relative poses with any two-view model · `evaluate_depth`,
`evaluate_pose` the protocols · `score` categories and intervals.
"""
