"""What tasks on a frozen encoder share: features, views of images with ground truth, the cache, fitting, head files.

`features` encoder, projector and norm to tokens · `baseline` the colour and position baseline · `data` images with
ground truth, checked · `workers` loader processes · `loading` batches by (seed, step, slot) · `head_fit` training with
the engine · `resumed` what changed since a fit began · `batched_fit` several heads at once · `head_files` a fitted head
on disk.
"""
