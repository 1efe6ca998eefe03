"""Classification of whole images on frozen features: nearest neighbours (`knn`), logistic regression (`linear`).

`data` image folders · `bank` features of all images, once · `knn`, `logistic` the two classifiers · `fit` the head ·
`predict` an image's classes · `evaluate` accuracies.
"""
