"""Short names of published encoders that timm loads: `dinov3_vitb16`, `c-radiov4-h`, `siglip2_b16_256`, …

A name in; out come a text for `load_encoder` (`timm:…`) and what a user should know before a download: size, licence,
whether it allows commercial use, and which vector `Tokens.cls` is. Mean, std and native size come from timm's own
metadata when a model is loaded; licences are written here as in timm. Options follow the name as for any other encoder:
`siglip2_b16_256,summary=pooled`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from codistill.weights.licences import permits_commercial

CLASS = "class token"
FIRST_OF_SEVERAL = "first summary token; the others are registers (hf:ORG/REPO gives all of them)"
POOLED = "none; summary=pooled is its attention pooling"
MEAN_POOLED = "none; summary=pooled is the mean"


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """One published encoder.

    Attributes:
        name: the name for users.
        encoder: the text for `load_encoder`, with its prefix.
        licence: licence of the weights, as in timm's metadata.
        homepage: page with the terms.
        parameters: number of parameters, in millions.
        summary: which vector `Tokens.cls` is.
    """

    name: str
    encoder: str
    licence: str
    homepage: str
    parameters: float
    summary: str = CLASS

    @property
    def commercial(self) -> bool:
        """Whether the licence allows commercial use, under its terms."""
        return permits_commercial(self.licence) is True


_GITHUB = "https://github.com"
_FAMILIES: Mapping[str, tuple[str, str]] = {
    "dinov3": ("dinov3-license", f"{_GITHUB}/facebookresearch/dinov3"),
    "eupe": ("fair-noncommercial-research-license", f"{_GITHUB}/facebookresearch/EUPE"),
    "c-radio": ("nvidia-open-model-license", f"{_GITHUB}/NVlabs/RADIO"),
    "tipsv2": ("apache-2.0", f"{_GITHUB}/google-deepmind/tips"),
    "pe_spatial": ("apache-2.0", f"{_GITHUB}/facebookresearch/perception_models"),
    "siglip2": ("apache-2.0", f"{_GITHUB}/google-research/big_vision"),
}
"""Licence and homepage of a family, by the prefix of its names."""

_ROWS: tuple[tuple[str, str, float, str], ...] = (
    ("dinov3_vits16", "vit_small_patch16_dinov3.lvd1689m", 21.6, CLASS),
    ("dinov3_vits16plus", "vit_small_plus_patch16_dinov3.lvd1689m", 28.7, CLASS),
    ("dinov3_vitb16", "vit_base_patch16_dinov3.lvd1689m", 85.6, CLASS),
    ("dinov3_vitl16", "vit_large_patch16_dinov3.lvd1689m", 303, CLASS),
    ("dinov3_vitl16_sat", "vit_large_patch16_dinov3.sat493m", 303, CLASS),
    ("dinov3_vith16plus", "vit_huge_plus_patch16_dinov3.lvd1689m", 841, CLASS),
    ("dinov3_vit7b16", "vit_7b_patch16_dinov3.lvd1689m", 6716, CLASS),
    ("dinov3_vit7b16_sat", "vit_7b_patch16_dinov3.sat493m", 6716, CLASS),
    ("dinov3_convnext_tiny", "convnext_tiny.dinov3_lvd1689m", 27.8, MEAN_POOLED),
    ("dinov3_convnext_small", "convnext_small.dinov3_lvd1689m", 49.5, MEAN_POOLED),
    ("dinov3_convnext_base", "convnext_base.dinov3_lvd1689m", 87.6, MEAN_POOLED),
    ("dinov3_convnext_large", "convnext_large.dinov3_lvd1689m", 196, MEAN_POOLED),
    ("eupe_vitt16", "vit_tiny_patch16_dinov3_qkvb.eupe_lvd1689m", 5.5, CLASS),
    ("eupe_vits16", "vit_small_patch16_dinov3_qkvb.eupe_lvd1689m", 21.6, CLASS),
    ("eupe_vitb16", "vit_base_patch16_dinov3_qkvb.eupe_lvd1689m", 85.7, CLASS),
    ("eupe_convnext_tiny", "convnext_tiny.eupe_lvd1689m", 27.8, MEAN_POOLED),
    ("eupe_convnext_small", "convnext_small.eupe_lvd1689m", 49.5, MEAN_POOLED),
    ("eupe_convnext_base", "convnext_base.eupe_lvd1689m", 87.6, MEAN_POOLED),
    ("c-radiov3-b", "naflexvit_base_patch16_radio_v3.c_radio", 98.3, FIRST_OF_SEVERAL),
    ("c-radiov3-l", "naflexvit_large_patch16_radio_v3.c_radio", 320, FIRST_OF_SEVERAL),
    ("c-radiov3-h", "naflexvit_huge_patch16_radio_v3.c_radio", 652, FIRST_OF_SEVERAL),
    ("c-radiov3-g", "naflexvit_giant_patch16_radio_v3.c_radio", 1160, FIRST_OF_SEVERAL),
    ("c-radiov4-so400m", "naflexvit_so400m_patch16_radio_v4.c_radio", 431, FIRST_OF_SEVERAL),
    ("c-radiov4-h", "naflexvit_huge_patch16_radio_v4.c_radio", 652, FIRST_OF_SEVERAL),
    ("tipsv2_b14", "vit_base_patch14_reg1_tipsv2.webli", 86.3, CLASS),
    ("tipsv2_l14", "vit_large_patch14_reg1_tipsv2.webli", 304, CLASS),
    ("tipsv2_so400m14", "vit_so400m_patch14_reg1_tipsv2.webli", 413, CLASS),
    ("tipsv2_g14", "vit_giant_patch14_reg1_tipsv2.webli", 1136, CLASS),
    ("pe_spatial_t16_512", "vit_pe_spatial_tiny_patch16_512.fb", 5.7, CLASS),
    ("pe_spatial_s16_512", "vit_pe_spatial_small_patch16_512.fb", 22, CLASS),
    ("pe_spatial_b16_512", "vit_pe_spatial_base_patch16_512.fb", 86.4, CLASS),
    ("pe_spatial_l14_448", "vit_pe_spatial_large_patch14_448.fb", 304, CLASS),
    ("pe_spatial_g14_448", "vit_pe_spatial_gigantic_patch14_448.fb", 1852, MEAN_POOLED),
    ("siglip2_b16_224", "vit_base_patch16_siglip_224.v2_webli", 92.9, POOLED),
    ("siglip2_b16_256", "vit_base_patch16_siglip_256.v2_webli", 92.9, POOLED),
    ("siglip2_b16_512", "vit_base_patch16_siglip_512.v2_webli", 93.5, POOLED),
    ("siglip2_l16_256", "vit_large_patch16_siglip_256.v2_webli", 316, POOLED),
    ("siglip2_l16_512", "vit_large_patch16_siglip_512.v2_webli", 317, POOLED),
    ("siglip2_so400m14_378", "vit_so400m_patch14_siglip_378.v2_webli", 428, POOLED),
    ("siglip2_so400m16_512", "vit_so400m_patch16_siglip_512.v2_webli", 429, POOLED),
    ("siglip2_g16_384", "vit_giantopt_patch16_siglip_384.v2_webli", 1164, POOLED),
)
"""Name, timm's model and weights, millions of parameters, summary.

C-RADIO is timm's NaFlex port, which resizes position embeddings as RADIO does at any image size; the plain port does
not.
"""


def _models() -> Iterator[PublishedModel]:
    for name, model, parameters, summary in _ROWS:
        family = next(prefix for prefix in _FAMILIES if name.startswith(prefix))
        licence, homepage = _FAMILIES[family]
        yield PublishedModel(
            name=name,
            encoder=f"timm:{model}",
            licence=licence,
            homepage=homepage,
            parameters=parameters,
            summary=summary,
        )


PUBLISHED: dict[str, PublishedModel] = {model.name: model for model in _models()}
"""Every published model by its name."""


@cache
def _by_text() -> dict[str, PublishedModel]:
    return {model.encoder: model for model in PUBLISHED.values()}


def find_published(text: str) -> PublishedModel | None:
    """The published model of a name or `timm:` text, with or without options; None if it is not one."""
    name = text.partition(",")[0]
    return PUBLISHED.get(name.lower()) or _by_text().get(name)


def resolve_published(text: str) -> str:
    """Replace a published model's name by the text that loads it; options are kept."""
    name, comma, options = text.partition(",")
    model = PUBLISHED.get(name.lower())
    return text if model is None else f"{model.encoder}{comma}{options}"
