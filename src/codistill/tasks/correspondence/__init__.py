"""Matching by the dense features of a frozen encoder alone: nothing is fitted.

`model` an encoder as a source of feature maps · `layouts`, `navi`, `scannet` posed pairs · `matching` their best
matches and errors · `task` the geometric task · `spair`, `semantic` the same parts of different objects.
"""
