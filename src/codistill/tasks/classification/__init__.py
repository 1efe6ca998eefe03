"""Classify whole images on frozen features: nearest neighbours (`knn`) or a linear classifier (`linear`).

`data` image folders, `world_things` objects of an embedded world · `bank` feature vectors of all images, computed once
· `knn`, `logistic`, `sweep` the classifiers · `config`, `fit` fitting · `model` from images to class scores · `task`
the two tasks.
"""
