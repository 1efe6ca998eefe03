"""Check that the sources and domains that a recipe names exist, and that its intervals fit its length."""

from codistill.data.mixing import SourceSize, mixture_of
from codistill.data.source import SourceConfig
from codistill.errors import ConfigError, unknown_name
from codistill.recipes.recipe import Recipe


def check_names(recipe: Recipe) -> None:
    """Refuse unknown names, and intervals that do not fit the run.

    Raises:
        ConfigError: for the first of these; says what to change.
    """
    sources = recipe.training_sources
    names, domains = [source.name for source in sources], {source.domain for source in sources}
    sharing = recipe.distill.sharing
    if sources and sharing.mode == "generic":
        if sharing.shared_sources == ():
            raise ConfigError("distill.sharing.shared_sources is empty: that shares nothing. Use mode none.")
        for name in sharing.shared_sources or ():
            if name not in names:
                raise ConfigError(unknown_name("source in distill.sharing.shared_sources", name, names))
        if sharing.shared_sources is None and sharing.generic_domain not in domains:
            raise ConfigError(
                f"distill.sharing.generic_domain {sharing.generic_domain!r} is the domain of no source, so mode "
                f"generic would share nothing; the sources' domains: {', '.join(sorted(domains))}"
            )
    if sources:
        mixture_of([SourceSize(s.name, s.domain, 1) for s in sources], recipe.mix, recipe.loader.batch_size)
    held_out = [source.name for source in recipe.held_out_sources]
    twice = sorted({name for name in held_out if held_out.count(name) > 1})
    if twice:
        raise ConfigError(f"held-out source names must differ; {', '.join(twice)} occurs more than once")
    for source in (*recipe.sources, *recipe.validation):
        _check_source(source)
    engine = recipe.engine
    if engine.keep_every % engine.checkpoint_every:
        raise ConfigError(
            f"engine.keep_every {engine.keep_every} must be a multiple of engine.checkpoint_every "
            f"{engine.checkpoint_every}: other steps have no checkpoint to keep"
        )
    if engine.stop_after is not None and not 0 < engine.stop_after <= recipe.total_steps:
        raise ConfigError(
            f"engine.stop_after {engine.stop_after} is no step of this run, which has {recipe.total_steps}"
        )


def _check_source(source: SourceConfig) -> None:
    without = {
        "generated": ("root", "include", "exclude", "rotation", "expected"),
        "folder": ("root",),
        "shards": ("root",),
    }
    for name in without.get(source.kind, ()):
        if getattr(source, name) != SourceConfig.__dataclass_fields__[name].default:
            raise ConfigError(
                f"source {source.name!r}: {name} would have no effect on a source of kind {source.kind}; leave it out"
            )
