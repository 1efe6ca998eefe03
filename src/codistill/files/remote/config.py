"""Options for reading from stores: space on the local disk, simultaneous requests, and patience with failures."""

from dataclasses import dataclass, field

from codistill.errors import ConfigError, check_least

_CHANGEABLE = {"changeable": True}


@dataclass(frozen=True, kw_only=True)
class RemoteConfig:
    """Options for reading sources that are addresses (`s3://…`); without effect on paths.

    Attributes:
        cache_gb: space on the local disk, in units of 10^9 bytes, for what was read; below the cache folder
            ($CODISTILL_CACHE). It is shared by all processes that name the same folder; the least recently used data
            are removed first. 0: nothing is stored.
        requests: number of requests that one process (each loader worker) has open at the same time.
        patience: seconds for which a store that fails or does not answer is retried, for each object, before the run
            stops.
    """

    cache_gb: float = field(default=32.0, metadata=_CHANGEABLE)
    requests: int = field(default=16, metadata=_CHANGEABLE)
    patience: float = field(default=600.0, metadata=_CHANGEABLE)

    def __post_init__(self) -> None:
        check_least(self, "cache_gb", least=0)
        check_least(self, "requests")
        if not self.patience > 0:
            raise ConfigError(f"patience must be positive seconds; got {self.patience}")
