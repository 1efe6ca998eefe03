"""How stores are read: room on the local disk, requests at a time, and how long a failing store is waited for."""

from dataclasses import dataclass, field

from codistill.errors import ConfigError, check_least

_CHANGEABLE = {"changeable": True}


@dataclass(frozen=True, kw_only=True)
class RemoteConfig:
    """Reading of sources that are addresses (`s3://…`); without effect on paths.

    Attributes:
        cache_gb: 10^9 bytes of the local disk for what was read, below the cache folder ($CODISTILL_CACHE); shared by
            all processes that name the same folder; the least recently used goes first. 0: nothing is kept.
        requests: requests that one process (each loader worker) has under way at the same time.
        patience: seconds for which a store that fails or does not answer is tried again, for each object, before the
            run stops.
    """

    cache_gb: float = field(default=32.0, metadata=_CHANGEABLE)
    requests: int = field(default=16, metadata=_CHANGEABLE)
    patience: float = field(default=600.0, metadata=_CHANGEABLE)

    def __post_init__(self) -> None:
        check_least(self, "cache_gb", least=0)
        check_least(self, "requests")
        if not self.patience > 0:
            raise ConfigError(f"patience must be positive seconds; got {self.patience}")
