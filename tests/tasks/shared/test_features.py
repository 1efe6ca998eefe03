import pytest
import torch
from task_toys import ENCODER

from codistill.encoders.load import load_encoder
from codistill.encoders.seeded import seeded_encoder
from codistill.errors import ConfigError, DataError
from codistill.student.student import Student
from codistill.tasks.shared.baseline import ColourPositionEncoder
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures, center_padding
from codistill.types import TargetSpec
from codistill.weights.contents import EncoderWeights, StudentWeights
from codistill.weights.export import write_export


@pytest.mark.parametrize(
    ("side", "padded", "before"), [(512, 518, 3), (416, 420, 2), (544, 546, 1), (480, 490, 5), (640, 644, 2)]
)
def test_padding_has_the_protocol_s_sizes(side, padded, before):
    left, right, top, bottom = center_padding((side, 224), 14)
    assert side + top + bottom == padded and top == before and (left, right) == (0, 0)
    assert center_padding((11, 12), 14) == (1, 1, 1, 2)  # the odd one goes to the end


def test_images_are_padded_with_zeros_in_the_middle():
    encoder = load_encoder(ENCODER)
    images = torch.randn(2, 3, 50, 45)
    padded = torch.zeros(2, 3, 56, 56)
    padded[:, :, 3:53, 5:50] = images
    features = FrozenFeatures(FeatureConfig(encoder=ENCODER))
    found = features(images)[0]
    torch.testing.assert_close(found.patches, encoder(padded).patches)
    assert found.grid == (4, 4) == features.grid((50, 45))


def test_norm_and_blocks_are_the_encoder_s_own():
    encoder = load_encoder(ENCODER)
    images = torch.randn(1, 3, 28, 28)
    plain = FrozenFeatures(FeatureConfig(encoder=ENCODER, norm=False))(images)[0]
    assert not plain.normed and torch.equal(plain.patches, encoder(images, norm=False).patches)
    levels = FrozenFeatures(FeatureConfig(encoder=ENCODER, blocks=(0, 1)))(images)
    assert torch.equal(levels[0].patches, encoder.intermediate(images, (0,))[0].patches)
    with pytest.raises(ConfigError, match=r"--blocks 0,9: .*\(0 to 1\)"):
        FrozenFeatures(FeatureConfig(encoder=ENCODER, blocks=(0, 9)))(images)


def test_they_stay_frozen_and_in_evaluation_mode():
    features = FrozenFeatures(FeatureConfig(encoder=ENCODER)).train()
    assert not features.training and not features.encoder.training
    assert not features(torch.randn(1, 3, 28, 28))[0].patches.requires_grad


@pytest.fixture
def student_folder(tmp_path):
    torch.manual_seed(0)
    student = Student(seeded_encoder(ENCODER), (TargetSpec(name="other", dim=20),)).eval()
    for kind in ("cls", "patch"):
        statistics = student.target_statistics["other"].of_kind(kind)
        statistics.mean.normal_()
        statistics.std.uniform_(0.5, 2.0)
    weights = StudentWeights(
        encoder=EncoderWeights(
            config=student.encoder.config, tensors=student.encoder.state_dict(), layout="test", name="s"
        ),
        projectors={"other": student.projectors["other"].state_dict()},
        statistics={
            "other": {kind: (m.mean, m.std) for kind, m in student.target_statistics["other"].items()}
        },
        teachers=({"name": "other", "dim": 20, "kinds": ["cls", "patch"]},),
        proj_args={"num_heads": 2},
    )
    return student, str(write_export(tmp_path / "student", weights))


def test_features_after_a_projector_are_the_student_s_projection(student_folder):
    student, folder = student_folder
    images = torch.randn(2, 3, 28, 28)
    expected = student.project(student.encoder(images, norm=False), "other")
    features = FrozenFeatures(FeatureConfig(encoder=folder, projector="other"))
    torch.testing.assert_close(features(images)[0].patches, expected.patches)
    assert features.channels == 20 and features.describe()["norm"] is False
    back = FrozenFeatures(FeatureConfig(encoder=folder, projector="other", denormalize=True))(images)[0]
    torch.testing.assert_close(back.patches, student.denormalize(expected, "other").patches)
    with pytest.raises(ConfigError, match="Did you mean 'other'"):
        FrozenFeatures(FeatureConfig(encoder=folder, projector="othr"))


def test_fingerprints_tell_features_apart():
    same = [FrozenFeatures(FeatureConfig(encoder=ENCODER)).fingerprint() for _ in range(2)]
    other = FrozenFeatures(FeatureConfig(encoder=ENCODER + ",seed=1")).fingerprint()
    unnormed = FrozenFeatures(FeatureConfig(encoder=ENCODER, norm=False)).fingerprint()
    assert same[0] == same[1] and len({same[0], other, unnormed}) == 3


def test_the_baseline_knows_mean_spread_and_place():
    images = torch.randn(2, 3, 28, 42)
    tokens = ColourPositionEncoder()(images)
    patch = images[1, :, 14:28, 28:42]
    expected = torch.cat(
        (patch.mean((1, 2)), patch.std((1, 2), correction=0), torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0]))
    )
    torch.testing.assert_close(tokens.patches[1, 5], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="Did you mean 'colour'"):
        FrozenFeatures(FeatureConfig(encoder="baseline:color"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"encoder": "e", "blocks": ()}, "one block at least"),
        ({"encoder": "e", "projector": "t", "blocks": (1, 2)}, "belong to an encoder alone"),
        ({"encoder": "e", "denormalize": True}, "denormalize needs a projector"),
    ],
)
def test_impossible_features_say_so(options, text):
    with pytest.raises(ConfigError, match=text):
        FeatureConfig(**options)


def test_an_encoder_must_be_named_before_features_are_computed():
    with pytest.raises(ConfigError, match=r"which features\? add --encoder E"):
        FrozenFeatures(FeatureConfig())


def test_features_that_are_no_numbers_are_refused_not_scored():
    encoder = load_encoder(ENCODER)
    features = FrozenFeatures(FeatureConfig(encoder="damaged"), encoder)
    images = torch.randn(1, 3, 28, 28)
    assert torch.equal(features.finite(images)[0].patches, features(images)[0].patches)
    with torch.no_grad():
        next(encoder.parameters()).view(-1)[0] = torch.nan
    with pytest.raises(DataError, match=r"the features of damaged are not finite.*Take the file again"):
        features.finite(images)
