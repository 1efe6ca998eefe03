"""Matching by the dense features of a frozen encoder alone: nothing is fitted.

`layouts`, `navi`, `scannet` posed pairs · `matching` their best
matches and errors · `task` the geometric task · `spair`, `semantic` the same parts of different objects.
"""
