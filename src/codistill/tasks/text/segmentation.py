"""Zero-shot segmentation: compare patches with embeddings of class names; no head is fitted.

Every patch's vector is compared with every class by cosine. Scores become pixels in the same way as those of a linear
head (`Segmenter`: the data set's resizing and windows, several scales, mirroring, joint bilateral upsampling). The
vector of a patch is one of these:

* `patch`: the patch token, of an encoder whose patches lie in the space of the text (TIPSv2), or of a student's
  projector;
* `cls`: the patch token after a student's head for class tokens, as RADIO does: a summary of the patch. This works for
  projectors that process one token at a time and have one input width.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from codistill.encoders.states import TokenState
from codistill.errors import ConfigError
from codistill.student.projectors import TransformerProjector
from codistill.student.student import Student
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.types import Tokens

SCALE = 100.0
"""Factor on cosines before probabilities are averaged over scales and mirror images (CLIP's logit scale)."""


class TextHead(nn.Module):
    """A head without parameters to fit: cosines between features and class embeddings.

    Args:
        classes: (class, channel), unit vectors.
    """

    classes: Tensor

    def __init__(self, classes: Float[Tensor, "class channel"]) -> None:
        super().__init__()
        # A parameter, so that `to` moves it, and the head's device can be read from it.
        self.classes = nn.Parameter(classes.clone(), requires_grad=False)

    def forward(
        self, features: Float[Tensor, "batch channel row column"]
    ) -> Float[Tensor, "batch class row column"]:
        """Cosines times `SCALE`."""
        vectors = normalize(features.float(), dim=1)
        return SCALE * torch.einsum("bcij,nc->bnij", vectors, self.classes)


class PatchSummaries(FrozenFeatures):
    """A student's patch tokens after a projector's head for class tokens, in the teacher's own feature space.

    Args:
        config: the config, with the projector.
        student: the loaded student.

    Raises:
        ConfigError: if the projector gives no class tokens, or mixes tokens.
    """

    def __init__(self, config: FeatureConfig, student: Student) -> None:
        super().__init__(config, student)
        assert config.projector is not None
        projector = student.projectors[config.projector]
        if not self.has_cls:
            raise ConfigError(
                f"{config.projector!r} has no class tokens to look at patches with; use --through patch"
            )
        if isinstance(projector, TransformerProjector) or student.projector_config.kind == "radio_attention":
            raise ConfigError(
                f"the projector of {config.projector!r} ({student.projector_config.kind}) mixes tokens, so that its "
                "class token's head cannot be used on patches; use --through patch"
            )
        self.channels = self.cls_channels

    @torch.no_grad()
    def levels(self, found: Mapping[TokenState, Tokens]) -> list[Tokens]:
        """The summaries of patches, in place of the patch tokens."""
        assert self.student is not None and self.config.projector is not None
        name = self.config.projector
        outputs = [found[state] for state in self.states]
        single = [_each_patch(tokens) for tokens in outputs]
        projected: Tokens = self.student.projectors[name](single)
        assert projected.cls is not None
        cls = self.student.denormalize(projected, name).cls
        assert cls is not None
        last = outputs[-1]
        return [Tokens(cls.unflatten(0, (len(last), -1)), last.grid, normed=True)]


def _each_patch(tokens: Tokens) -> Tokens:
    """Every patch as an image of its own, of which it is both the class token and the only patch."""
    each = tokens.patches.flatten(0, 1)  # (batch x patch, channel)
    return Tokens(each[:, None], (1, 1), each, normed=tokens.normed)


def patch_vectors(features: FrozenFeatures, through: str, source: str) -> FrozenFeatures:
    """The features whose patch tokens are compared with text.

    Raises:
        ConfigError: for `cls` without a student's projector.
    """
    if through == "patch":
        return features
    if features.student is None:
        raise ConfigError(
            f"--through cls looks at patches with a student's head of class tokens; {source} is taken as an encoder "
            "alone. Name a teacher of it: --projector TEACHER"
        )
    return PatchSummaries(features.config, features.student)
