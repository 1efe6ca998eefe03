"""Monocular depth on frozen features: NYUd with its published lists, the embedded world, a folder of your own.

`data` layouts and protocols · `views` training views · `fit` the head, published or cached · `model` from an image to
depth · `task` the `Task` value. Every dense task has the same files.
"""
