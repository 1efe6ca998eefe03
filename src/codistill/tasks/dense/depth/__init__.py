"""Monocular depth on frozen features: NYUd by its published lists, the embedded world, your own folder.

`data` layouts and protocols · `views` training views · `fit` the head, published or cached · `model` an image's depth ·
`task` all of it as a value: the same files as every dense task.
"""
