"""What tasks on a frozen encoder share: its features, views of images with truth, the cache, fitting, head files.

`features` encoder, projector and norm to tokens · `baseline` the probe that knows colour and position · `data`
image and truth, checked · `workers` loader processes · `loading` batches by (seed, step, slot) · `head_fit` the one
way through the engine · `resumed` what changed since a fit began · `batched_fit` several heads at once · `head_files` a
fitted head on disk.
"""
