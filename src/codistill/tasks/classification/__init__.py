"""Classification of whole images on frozen features: nearest neighbours (`knn`), a linear classifier (`linear`).

`data` image folders, and `world_things` an embedded world's · `bank` features of all images, once · `knn`, `logistic`,
`sweep` the classifiers · `config`, `fit` the head · `model` an image's classes · `task` the two tasks.
"""
