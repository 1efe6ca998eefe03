"""Surface normals of every pixel on frozen features: NYUv2, the embedded world, your own folder.

`data` layouts and training views · `fit` the head, published or cached · `model` an image's normals ·
`task` all of it as a value: the same files as every dense task.
"""
