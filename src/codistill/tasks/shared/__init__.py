"""What tasks on a frozen encoder share: features, views of images with truth, the cache, fitting, head files.

`features` encoder, projector and norm to tokens · `baseline` the colour and position probe · `data` image and truth,
checked · `workers` loader processes · `loading` batches by (seed, step, slot) · `head_fit` the one way through the
engine · `resumed` what changed since a fit began · `batched_fit` several heads at once · `head_files` a fitted head on
disk.
"""
