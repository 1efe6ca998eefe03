"""Load a fitted or released human-mesh head with its encoder and body model: from a `Subject` to an estimator.

--head HEAD              a folder that `codistill fit people` wrote; --encoder replaces its encoder
--model FILE             a released Multi-HMR file with encoder and head
--head FILE --encoder E  the head of such a file on another encoder
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from codistill.bodies.base import BodyModel
from codistill.bodies.load import load_body
from codistill.errors import ConfigError, DataError
from codistill.heads.human_mesh.frozen import as_fast_as
from codistill.heads.human_mesh.load import read_human_mesh
from codistill.heads.human_mesh.network import HumanMeshConfig, HumanMeshHead
from codistill.tasks.opening import open_split
from codistill.tasks.people.baseline import MeanBody
from codistill.tasks.people.config import PeopleProtocol
from codistill.tasks.people.data import LAYOUTS, PeopleData
from codistill.tasks.people.model import PeopleEstimator, PeopleSearch
from codistill.tasks.people.views import whole_patches
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures, Source
from codistill.tasks.shared.head_files import TENSORS, read_record, read_tensors
from codistill.tasks.shared.same_encoder import check_features, say_unknown
from codistill.tasks.task import Subject
from codistill.weights.read import read_checkpoint
from codistill.weights.state import StateDict

_log = logging.getLogger(__name__)


def load_people(
    subject: Subject, search: PeopleSearch | None = None, data: PeopleData | None = None
) -> PeopleEstimator:
    """Load a head with its encoder and body model; SMPL-X comes from your own licensed file.

    Args:
        subject: head and encoder, as named by the user; see the module's text.
        data: the data to score, whose body model is used.

    Raises:
        CheckpointError: if the head cannot be read.
        ConfigError: if an option is missing, or encoder, head, body model and data do not fit.
        DataError: if SMPL-X's file is missing.
    """
    search = search or PeopleSearch()
    path = subject.model or subject.head
    if path is None:
        raise ConfigError(
            "which head? add --head HEAD (a folder of `codistill fit people`), or --model FILE (a released Multi-HMR "
            "file)"
        )
    path = path.expanduser()
    if subject.model is not None or path.is_file():
        found = _released(path, subject, search, data)
        trained_on = None
    else:
        found, trained_on = _fitted(path, subject, search, data)
    if subject.baseline is not None:  # mean-body, the only baseline
        assert data is not None
        found.mean_of, found.mean = _mean_body(trained_on or data.spec, data, found.body)
    return found


def _mean_body(spec: str, data: PeopleData, body: BodyModel) -> tuple[str, MeanBody]:
    """The mean body of the people that the head was fitted on, or of the scored data's train split; and of which."""
    try:
        train: PeopleData = open_split(LAYOUTS, spec, "train", partial=data.partial)
    except (ConfigError, DataError) as error:
        if spec == data.spec:
            raise
        _log.warning(
            "%s. The head was fitted on it: the mean body is that of %s (train) instead", error, data.spec
        )
        return _mean_body(data.spec, data, body)
    truths = (train.samples[index].truth for index in range(len(train.samples)))
    mean = MeanBody.of(truths, train.body.shape_limit)
    if len(mean.shape) != body.n_shape:
        raise ConfigError(
            f"{spec}: people have {len(mean.shape)} shape numbers and the head gives {body.n_shape}: there is no mean "
            "body for it. Fit a head on these labels."
        )
    return spec, mean


def _fitted(
    path: Path, subject: Subject, search: PeopleSearch, data: PeopleData | None
) -> tuple[PeopleEstimator, str]:
    """The head in a folder, and the spec of the data that it was fitted on."""
    record = read_record(path, "people")
    config, seen = record.own("head", HumanMeshConfig), record.own("test", PeopleProtocol)
    network = HumanMeshHead(config)
    state = StateDict.of_checkpoint(path / TENSORS, read_tensors(path))
    state.check({name: tensor.shape for name, tensor in network.state_dict().items()})
    network.load_state_dict(state.tensors)
    options = {"n_shape": config.n_shape} if seen.body == "smplx" else {}
    labels = _labels_body(path, seen.body, config, data)
    body = partial(load_body, seen.body, **options) if labels is None else labels
    features = subject.features or record.features
    found = _assembled(path, network, features, (seen.body, body), search, seen.size, subject.source)
    check_features(path, record, found.features, subject.other_encoder)
    return found, record.data.spec


def _released(path: Path, subject: Subject, search: PeopleSearch, data: PeopleData | None) -> PeopleEstimator:
    features = subject.features
    if subject.model is not None and features is not None:
        raise ConfigError(
            f"--model {path} is encoder and head together, so --encoder and its options would have no effect. Leave "
            f"them out, or put its head on an encoder of your own: --head {path} --encoder E"
        )
    if subject.model is None and (features is None or not features.encoder):
        raise ConfigError(
            f"{path}: a released file. Its own encoder with its head: --model {path}. Its head on an encoder of your "
            "own: add --encoder E"
        )
    network = read_human_mesh(path, read_checkpoint(path)).build()
    config = network.config
    labels = _labels_body(path, "smplx", config, data)
    make = partial(load_body, "smplx", n_shape=config.n_shape, n_expression=config.n_expression)
    body = make if labels is None else labels
    if features is None:
        features = FeatureConfig(encoder=str(path), norm=not config.fresh_norm)
    else:
        say_unknown(path, features.encoder)
    size = config.table_size * config.patch_size
    return _assembled(path, network, features, ("smplx", body), search, size, subject.source)


def _labels_body(
    path: Path, named: str, config: HumanMeshConfig, data: PeopleData | None
) -> BodyModel | None:
    """The labels' body model; None without data, or if SMPL-X labels have another number of shape coefficients.

    Raises:
        ConfigError: if labels are of another body model than the head.
    """
    if data is None:
        return None
    if data.body.name != named:
        raise ConfigError(
            f"{path} gives bodies of {named!r}, {data.spec} is labelled with {data.body.name!r}: surfaces of two body "
            "models cannot be compared. Fit a head on this data."
        )
    return None if named == "smplx" and data.body.n_shape != config.n_shape else data.body


def _assembled(
    path: Path,
    network: HumanMeshHead,
    config: FeatureConfig,
    named_body: tuple[str, BodyModel | Callable[[], BodyModel]],
    search: PeopleSearch,
    size: int,
    source: Source | None,
) -> PeopleEstimator:
    name, body = named_body
    if config.projector is None:
        config = replace(config, norm=not network.config.fresh_norm)
    features, shape = FrozenFeatures(config, source), network.config
    if (features.channels, features.patch_size) != (shape.encoder_dim, shape.patch_size):
        raise ConfigError(
            f"{path} takes tokens of {shape.encoder_dim} channels and patch size {shape.patch_size}; {config.encoder} "
            f"gives {features.channels} channels at patch size {features.patch_size}. Use the encoder that the head "
            "was fitted on."
        )
    make = partial(_fitting, path, body, shape)
    size = whole_patches(search.size or size, shape.patch_size)
    network = as_fast_as(features.encoder, network.eval())
    found = PeopleEstimator(features, network, name, make, size, search)
    if name != "anny" or isinstance(body, BodyModel):
        _ = found.body  # made now, so that its errors are raised here; it takes no time
    return found


def _fitting(path: Path, body: BodyModel | Callable[[], BodyModel], shape: HumanMeshConfig) -> BodyModel:
    """The body model, if it takes the numbers of rotations and shape coefficients that the head gives."""
    made = body if isinstance(body, BodyModel) else body()
    if (made.n_rot, made.n_shape) != (shape.n_rot, shape.n_shape):
        raise ConfigError(
            f"{path} gives {shape.n_rot} rotations and {shape.n_shape} shape numbers; the body model {made.name} takes "
            f"{made.n_rot} and {made.n_shape}"
        )
    return made
