"""Semantic segmentation on frozen features: ADE20K, Cityscapes, NYUv2, ScanNet, the embedded world, your own folder.

`data` and `layouts` what is labelled · `views` what training sees · `fit` the head, published or cached · `predict` an
image's classes · `evaluate` mIoU, accuracy, pictures. Other dense tasks have the same files.
"""
