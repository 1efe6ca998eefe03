"""Monocular depth on frozen features: NYUd by its published lists, the embedded world, your own folder.

`data` what is measured · `views` what training sees · `fit` the head, published or cached · `predict` an image's
depth · `evaluate` errors, pictures: the same files as every dense task.
"""
