"""A register at test time: a planted unit is found, and what it wrote into patches moves into the register."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codistill.analysis.attention import cls_attention
from codistill.encoders.fingerprint import encoder_fingerprint
from codistill.encoders.load import load_encoder
from codistill.encoders.precision import in_precision
from codistill.encoders.test_time_register import RegisterAtTestTime, RegisterNeurons, find_register_neurons
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError
from codistill.metrics.token_lengths import long_from
from codistill.nn.vit import ViTConfig
from codistill.tasks.shared.unfrozen import unfrozen
from codistill.teachers.bank import TeacherBank
from codistill.teachers.teacher import Teacher, TeacherConfig
from codistill.weights.contents import EncoderWeights
from codistill.weights.export import write_export

UNIT = 5


def planted() -> tuple[ViTEncoder, torch.Tensor]:
    """An encoder whose unit 5 of block 1 writes a long vector wherever a patch is bright, and images with one each."""
    torch.manual_seed(0)
    config = ViTConfig(dim=16, depth=4, num_heads=2, patch_size=4, image_size=24, hidden=32, layer_scale=None)
    encoder = ViTEncoder(config).eval()
    with torch.no_grad():
        encoder.pos_embed.zero_()
        for block in encoder.blocks:
            block.attn.proj.weight.zero_()  # type: ignore[union-attr]
            block.mlp.fc2.weight.mul_(0.1)  # type: ignore[union-attr]
        bright = encoder.patch_embed.proj.weight.sum((1, 2, 3))
        bright = torch.nn.functional.normalize(bright - bright.mean(), dim=0)  # as after a LayerNorm
        mlp = encoder.blocks[1].mlp
        mlp.fc1.weight[UNIT] = 5.0 * bright  # type: ignore[union-attr]
        mlp.fc1.bias[UNIT] = -17.0  # type: ignore[union-attr]
        mlp.fc2.weight[:, UNIT] = 30.0 * torch.sign(torch.randn(16))  # type: ignore[union-attr]
    images = torch.randn(6, 3, 24, 24)
    images[:, :, 8:12, 12:16] = 1.0
    return encoder, images


def lengths(encoder: ViTEncoder, images: torch.Tensor) -> torch.Tensor:
    return encoder(images, norm=False).patches.norm(dim=-1)


def test_the_planted_unit_is_found_and_its_token_moves_into_the_register() -> None:
    encoder, images = planted()
    before = lengths(encoder, images)
    assert (before > long_from(before)).sum() == 6 and (before[:, 15] > long_from(before)).all()
    neurons = find_register_neurons(encoder, [images[:3], images[3:]], 1)
    assert neurons.units == ((1, UNIT),)
    quiet = RegisterAtTestTime(encoder, neurons)
    tokens = quiet(images, norm=False)
    after = tokens.patches.norm(dim=-1)
    assert (after > long_from(before)).sum() == 0
    assert tokens.registers is not None and (tokens.registers[:, 0].norm(dim=-1) > before.median() * 5).all()
    dark = torch.arange(36) != 15
    plain = encoder(images, norm=False).patches[:, dark]
    torch.testing.assert_close(tokens.patches[:, dark], plain, rtol=0, atol=0.05 * plain.abs().max().item())
    assert torch.equal(encoder(images, norm=False).patches[:, dark], plain)  # the given encoder is left alone


def test_no_units_change_nothing_but_the_extra_token() -> None:
    encoder, images = planted()
    with torch.no_grad():
        for block in encoder.blocks:
            block.attn.proj.weight.zero_()  # type: ignore[union-attr]
    none = RegisterAtTestTime(encoder, RegisterNeurons(encoder="x", width=16, hidden=32, units=()))
    torch.testing.assert_close(none(images).patches, encoder(images).patches)
    assert none.spec.num_registers == 1


def test_an_option_of_any_of_our_encoders(tmp_path: Path) -> None:
    encoder, images = planted()
    weights = EncoderWeights(
        config=encoder.config, tensors=encoder.state_dict(), layout="test", name="planted"
    )
    folder = write_export(tmp_path / "export", weights)
    file = tmp_path / "neurons.json"
    find_register_neurons(encoder, [images], 1).save(file)
    quiet = load_encoder(f"{folder},register_neurons={file}")
    assert quiet.spec.num_registers == 1
    found, plain = encoder_fingerprint(quiet), encoder_fingerprint(load_encoder(folder))
    assert found.architecture["register_neurons"] == [[1, UNIT]] and plain.difference(found)


def test_a_teacher_in_a_bf16_step_keeps_its_register() -> None:
    encoder, images = planted()
    quiet = RegisterAtTestTime(encoder, find_register_neurons(encoder, [images], 1))
    kinds = ("patch",)
    teacher = Teacher(TeacherConfig(name="quiet", kinds=kinds, norm=False), quiet, step="bf16")
    bank = TeacherBank([teacher], 4)
    tokens = bank(images, {})["quiet"].patches.float()
    wanted = quiet(images, norm=False).patches
    torch.testing.assert_close(tokens, wanted, rtol=0, atol=0.05 * wanted.abs().max().item())


def test_it_is_neither_folded_nor_saved_nor_trained() -> None:
    """Each of these reads config and weights alone, and would lose the units."""
    encoder, images = planted()
    quiet = RegisterAtTestTime(encoder, find_register_neurons(encoder, [images], 1))
    for precision in ("fp32", "bf16"):
        with pytest.raises(ConfigError, match=f"cannot be loaded with precision={precision}"):
            in_precision(quiet, precision)  # type: ignore[arg-type]
    assert in_precision(quiet, "auto") is quiet
    assert not hasattr(quiet, "save_pretrained")
    with pytest.raises(ConfigError, match="cannot be saved as an export"):
        unfrozen(quiet, "quiet")
    assert cls_attention(quiet, images).shape == (6, 2, 6, 6)  # type: ignore[arg-type]


def test_refusals(tmp_path: Path) -> None:
    encoder, images = planted()
    calm = images.clone()
    calm[:, :, 8:12, 12:16] = images[:, :, :4, :4]
    with pytest.raises(ConfigError, match="makes no long tokens on these images"):
        find_register_neurons(encoder, [calm], 1)
    with pytest.raises(ConfigError, match=r"64 hidden units up to block 1; got a count of 0"):
        find_register_neurons(encoder, [images], 0)
    windowed = ViTEncoder(replace(encoder.config, window=3, num_global=1))
    with pytest.raises(ConfigError, match="leave out window"):
        find_register_neurons(windowed, [images], 1)
    with pytest.raises(ConfigError, match=r"of other \(8 wide\), not of vit \(16 wide"):
        RegisterAtTestTime(encoder, RegisterNeurons(encoder="other", width=8, hidden=32, units=((0, 1),)))
