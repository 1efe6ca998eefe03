"""Names of published encoders against timm's own registry; the smallest of each family is built and looked at."""

import logging
import re
from pathlib import Path

import pytest
import torch

from codistill.encoders import load
from codistill.encoders.load import load_encoder
from codistill.encoders.published import CLASS, PUBLISHED, find_published, resolve_published
from codistill.errors import CheckpointError, ConfigError
from codistill.types import IMAGENET_MEAN

timm = pytest.importorskip("timm")

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)


def metadata(name: str):
    return timm.models.get_pretrained_cfg(PUBLISHED[name].encoder.removeprefix("timm:"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_timm_knows_the_model_its_weights_and_its_licence(name: str) -> None:
    found = metadata(name)
    assert found is not None and found.hf_hub_id, "no weights"
    assert found.license == PUBLISHED[name].licence


def test_normalizations_are_those_of_the_publishers() -> None:
    assert tuple(metadata("dinov3_vitb16").mean) == tuple(metadata("eupe_vitb16").mean) == IMAGENET_MEAN
    assert tuple(metadata("c-radiov4-h").mean) == CLIP_MEAN
    assert tuple(metadata("tipsv2_b14").std) == (1, 1, 1) and tuple(metadata("tipsv2_b14").mean) == (0, 0, 0)
    assert tuple(metadata("pe_spatial_b16_512").mean) == tuple(metadata("siglip2_b16_256").mean) == (0.5,) * 3


def test_options_stay_behind_a_name() -> None:
    text = "timm:vit_base_patch16_siglip_256.v2_webli,summary=pooled"
    assert resolve_published("SigLIP2_b16_256,summary=pooled") == text
    assert find_published(text) is PUBLISHED["siglip2_b16_256"]
    assert resolve_published("dinov2_vits14,image_size=448") == "dinov2_vits14,image_size=448"
    assert find_published("timm:resnet18") is None


def test_a_name_loads_as_its_timm_text() -> None:
    encoder = load_encoder("eupe_vitt16,pretrained=false")
    assert encoder.spec.name == "timm:vit_tiny_patch16_dinov3_qkvb.eupe_lvd1689m"
    assert encoder.spec.licence == "none (random weights)" and encoder.spec.num_registers == 4
    tokens = encoder(torch.zeros(1, 3, 32, 48))
    assert tokens.grid == (2, 3) and tokens.cls is not None and tokens.cls.shape == (1, 192)


def test_a_restricting_licence_is_told_once_as_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Weights(torch.nn.Module):
        spec = type("Spec", (), {"licence": "fair-noncommercial-research-license"})

    monkeypatch.setitem(load.KINDS, "timm:", lambda text, **given: Weights())
    monkeypatch.setattr(load, "_TOLD", set())
    caplog.set_level(logging.INFO, logger="codistill")
    for _ in range(2):
        load_encoder("eupe_vitb16")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "eupe_vitb16: licence fair-noncommercial" in caplog.text and "facebookresearch/EUPE" in caplog.text
    load_encoder("tipsv2_b14")
    assert caplog.records[-1].levelname == "INFO"


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tipsv2_b14").mkdir()
    with pytest.raises(CheckpointError, match="tipsv2_b14"):
        load_encoder("tipsv2_b14")


def test_a_misspelt_name_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'dinov3_vitb16'"):
        load_encoder("dinov3_vitb61")


def test_the_documentation_names_every_family_and_licence() -> None:
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text()
    section = page.partition("### Other published encoders")[2].partition("\n\nFiles are read")[0]
    for family in ("dinov3_", "eupe_", "c-radiov3", "c-radiov4", "tipsv2_", "pe_spatial_", "siglip2_"):
        row = next(line for line in section.splitlines() if line.startswith("|") and f"`{family}" in line)
        commercial = {model.commercial for name, model in PUBLISHED.items() if name.startswith(family)}
        assert len(commercial) == 1 and re.search(r"\| (yes|no)", row).group(1) == (  # type: ignore[union-attr]
            "yes" if commercial.pop() else "no"
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["dinov3_vits16", "c-radiov3-b", "tipsv2_b14", "pe_spatial_t16_512", "siglip2_b16_224"]
)
def test_the_smallest_of_a_family(name: str) -> None:
    encoder = load_encoder(f"{name},pretrained=false")
    model = PUBLISHED[name]
    assert encoder.spec.has_cls == (model.summary == CLASS or "first" in model.summary)
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(model.parameters, rel=5e-3)
    assert tuple(encoder.spec.mean) == tuple(metadata(name).mean)
    size = encoder.spec.image_size if name.startswith(("pe_", "siglip")) else 4 * encoder.spec.patch_size
    assert size is not None
    tokens = encoder(torch.rand(1, 3, size, size))
    assert tokens.grid == (size // encoder.spec.patch_size,) * 2 and bool(tokens.patches.isfinite().all())
