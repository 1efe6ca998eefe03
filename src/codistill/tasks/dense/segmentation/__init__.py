"""Semantic segmentation on frozen features: ADE20K, Cityscapes, NYUv2, ScanNet, the embedded world, your own folder.

`data`, `layouts`, `classes` the data sets · `views` training views · `fit` the head, published or cached · `model` from
an image to classes · `task` the `Task` value. Other dense tasks have the same files.
"""
