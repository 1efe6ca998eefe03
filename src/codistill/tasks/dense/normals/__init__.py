"""Surface normals on frozen features: NYUv2, the embedded world, a folder of your own.

`data` layouts and training views · `fit` the head, published or cached · `model` from an image to normals · `task` the
`Task` value. Every dense task has the same files.
"""
