"""The data sets of DUNE (and of UNIC) by name: location, domain and number of images.

Each lies below `$CODISTILL_DATA`, or at a given root: as a folder of images, as a manifest or list of the same name
(`train.parquet`, `train.txt`), or as a folder of shards.
Counts: DUNE (CVPR 2025), Table 5 and supplement.
"""

from dataclasses import dataclass

from codistill.data.patterns import IMAGENET_1K
from codistill.data.source import SourceConfig
from codistill.errors import ConfigError, unknown_name

ROOT = "$CODISTILL_DATA"


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """One data set.

    Attributes:
        domain: `generic`, `3d` or `human`.
        train, val: published number of images of the split; 0 if there is none.
        train_path, val_path: path of the split below the set's root ("" is the root itself).
        files: folder below the root to which the names in a list are relative; None: the root itself.
        exclude, rotation: see `SourceConfig`.
    """

    domain: str
    train: int
    val: int = 0
    train_path: str = "train"
    val_path: str = "val"
    files: str | None = None
    exclude: tuple[str, ...] = ()
    rotation: str = "none"


def _listed(train: int, val: int) -> CatalogueEntry:
    """A 3-D data set whose published splits are lists of images."""
    return CatalogueEntry(domain="3d", train=train, val=val)


CATALOGUE: dict[str, CatalogueEntry] = {
    "in19k": CatalogueEntry(domain="generic", train=13_153_480, train_path="", exclude=(IMAGENET_1K,)),
    "gldv2": CatalogueEntry(domain="generic", train=4_132_914, val=117_577, val_path="test"),
    "mapillarystreet": CatalogueEntry(
        domain="generic", train=1_205_907, val=23_943, train_path="train_val", val_path="test"
    ),
    "in1k": CatalogueEntry(domain="generic", train=1_281_167, val=50_000),
    "ARKitScenesV2": _listed(456_108, 5_307),
    "BlendedMVS": _listed(98_937, 5_094),
    "Co3d_v3": _listed(185_100, 5_000),
    "DL3DV": _listed(208_800, 5_000),
    "Habitat512": _listed(284_965, 5_035),
    "MegaDepthDense": _listed(36_949, 3_682),
    "Niantic": _listed(41_300, 4_600),
    "ScanNetppV2": _listed(60_188, 5_031),
    "TartanAir": _listed(136_225, 10_000),
    "Unreal4K": _listed(14_386, 1_988),
    "VirtualKitti": _listed(1_200, 300),
    "WildRgb": _listed(224_400, 5_000),
    "bedlam": CatalogueEntry(
        domain="human",
        train=353_116,
        val=31_381,
        train_path="training",
        val_path="validation",
        rotation="closeup",
    ),
    "agora": CatalogueEntry(domain="human", train=14_314, val=1_225, val_path="validation"),
    "cuffs": CatalogueEntry(domain="human", train=54_944, train_path=""),
    "ubody": CatalogueEntry(domain="human", train=54_234, val=2_016, files="videos"),
}


def catalogue_source(
    name: str, split: str = "train", *, root: str | None = None, complete: bool = True
) -> SourceConfig:
    """Return a known data set as a source.

    Args:
        name: a name in `CATALOGUE`.
        split: `train` or `val`.
        root: the set's own folder; default `$CODISTILL_DATA/name`, filled in when the source is opened.
        complete: let opening fail if fewer images than published are found.

    Raises:
        ConfigError: for an unknown name or split, or a split that the set does not have.
    """
    if name not in CATALOGUE:
        raise ConfigError(unknown_name("data set", name, CATALOGUE))
    if split not in ("train", "val"):
        raise ConfigError(unknown_name("split", split, ("train", "val")))
    entry = CATALOGUE[name]
    count = entry.train if split == "train" else entry.val
    if not count:
        raise ConfigError(f"the data set {name!r} has no {split} split")
    base = root or f"{ROOT}/{name}"
    part = entry.train_path if split == "train" else entry.val_path
    return SourceConfig(
        name=name,
        domain=entry.domain,
        path=f"{base}/{part}" if part else base,
        root=f"{base}/{entry.files}" if entry.files else None,
        exclude=entry.exclude,
        rotation=entry.rotation,
        expected=count if complete else 0,
    )
