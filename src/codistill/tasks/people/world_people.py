"""People of the embedded world as labelled images: Anny parameters, joints, visible share, age."""

from dataclasses import dataclass

from codistill.bodies.anny import PHENOTYPES
from codistill.geometry.rotations import rotation_from_vector
from codistill.tasks.people.sample import PeopleImage, Skeleton, make_truth, nobody
from codistill.tasks.shared.groups import Groups
from codistill.tasks.shared.inputs import SampleInputs
from codistill.world.dataset import PeopleDataset

MIN_VISIBLE = 0.05
"""Visible share of a silhouette below which a person is not labelled: too little of it is in the image."""

LOGIT_LIMIT = 9.0
"""Limit on logits of phenotypes, since 0 and 1 have no logit; its phenotypes are within 0.0002 of 0 and 1."""


@dataclass(frozen=True)
class WorldPeople:
    """A split of the world's people.

    Attributes:
        samples: from `World.people`.
        skeleton: Anny's skeleton.
    """

    samples: PeopleDataset
    skeleton: Skeleton

    @property
    def groups(self) -> Groups:
        """One group per scene."""
        return Groups(self.samples.scenes(), "scenes")

    def __len__(self) -> int:
        return len(self.samples)

    def inputs_of(self, index: int) -> SampleInputs:
        """The image's shard, and its index in the shard."""
        return self.samples.inputs_of(index)

    def __getitem__(self, index: int) -> PeopleImage:
        sample = self.samples[index]
        image = sample.image.numpy()
        kept = (sample.visible >= MIN_VISIBLE).nonzero()[:, 0]
        if not len(kept):
            return PeopleImage(image, sample.intrinsics, nobody(self.skeleton), sample.name)
        phenotypes = sample.phenotypes[kept]
        truth = make_truth(
            self.skeleton,
            sample.joints_3d[kept],
            rotmat=rotation_from_vector(sample.rotation_vectors[kept]),
            shape=phenotypes.logit().clamp(-LOGIT_LIMIT, LOGIT_LIMIT),
        )
        facts = {"visible": sample.visible[kept], "age": phenotypes[:, PHENOTYPES.index("age")]}
        return PeopleImage(image, sample.intrinsics, truth, sample.name, facts)
