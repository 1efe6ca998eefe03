"""Match two images by the dense features of a frozen encoder; nothing is fitted.

`layouts`, `navi`, `scannet` pairs of views with poses · `matching` best matches of a pair and their errors · `task` the
geometric task · `spair`, `semantic` matching the same parts of different objects.
"""
