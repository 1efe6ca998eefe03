"""Load batches of images from any number of sources: sources → mixing sampler → decode, crop, augment → `Batch`.

    sources = (SourceConfig(name="in1k", domain="generic", path="/data/in1k/train"),
               catalogue_source("DL3DV"))
    for batch in train_loader(sources, MixConfig(mode="balanced"), AugmentConfig(),
                              LoaderConfig(batch_size=128, image_size=336),
                              seed=0, rank=0, world_size=1, start_step=0, total_steps=1000, device="cpu"):
        batch.images          # this rank's part of one step: float (batch, 3, row, column), ImageNet-normalized
    for batch in eval_loader(sources, LoaderConfig(batch_size=128)): ...     # every image once, in order

    source = open_source(sources[0])      # len(source), source.name_of(i), source.read(i), source.read_member(i, m)

The images of a step are a function of (seed, step). Any step can be loaded directly, by any number of ranks and
workers, and two runs with the same seed see the same pixels. Slot s of the global batch belongs to rank
s % world_size. Configs are frozen dataclasses of plain values. Nothing here depends on teachers, students or losses.
"""

from codistill.data.augment import AugmentConfig
from codistill.data.catalogue import CATALOGUE, catalogue_source
from codistill.data.loader import LoaderConfig, eval_loader, steps_per_epoch, train_loader
from codistill.data.mixing import MixConfig
from codistill.data.opening import open_source
from codistill.data.source import Source, SourceConfig

__all__ = [
    "CATALOGUE",
    "AugmentConfig",
    "LoaderConfig",
    "MixConfig",
    "Source",
    "SourceConfig",
    "catalogue_source",
    "eval_loader",
    "open_source",
    "steps_per_epoch",
    "train_loader",
]
