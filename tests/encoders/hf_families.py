"""Small networks of transformers' vision families, with random weights: what the tests of `hf:` encoders load."""

from collections.abc import Callable
from typing import Any

import torch
import transformers as t

ViT = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96}
TEXT = {
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 30,
}
FOUR = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32]}


def _vision(**options: Any) -> dict[str, Any]:
    return {**ViT, "image_size": 64, "patch_size": 16, **options}


FAMILIES: dict[str, Callable[[], torch.nn.Module]] = {
    # plain and self-supervised vision transformers
    "vit": lambda: t.ViTModel(t.ViTConfig(**_vision())),
    "deit": lambda: t.DeiTModel(t.DeiTConfig(**_vision())),
    "beit": lambda: t.BeitModel(t.BeitConfig(**_vision(use_relative_position_bias=True))),
    "data2vec_vision": lambda: t.Data2VecVisionModel(t.Data2VecVisionConfig(**_vision())),
    "vit_mae": lambda: t.ViTMAEModel(t.ViTMAEConfig(**_vision())),
    "vit_msn": lambda: t.ViTMSNModel(t.ViTMSNConfig(**_vision())),
    "ijepa": lambda: t.IJepaModel(t.IJepaConfig(**_vision())),
    "yolos": lambda: t.YolosModel(t.YolosConfig(**_vision(image_size=[64, 64], num_detection_tokens=5))),
    "vitdet": lambda: t.VitDetModel(t.VitDetConfig(**_vision())),
    "dinov2": lambda: t.Dinov2Model(t.Dinov2Config(**_vision(patch_size=14, image_size=56))),
    "dinov2_with_registers": lambda: t.Dinov2WithRegistersModel(
        t.Dinov2WithRegistersConfig(**_vision(patch_size=14, image_size=56, num_register_tokens=2))
    ),
    "dinov3_vit": lambda: t.DINOv3ViTModel(t.DINOv3ViTConfig(**_vision(num_register_tokens=4))),
    "pixio": lambda: t.PixioModel(t.PixioConfig(**_vision(n_cls_tokens=3))),
    "sapiens2": lambda: t.Sapiens2Model(
        t.Sapiens2Config(**_vision(num_key_value_heads=3, num_register_tokens=2, image_size=[64, 64]))
    ),
    "radio": lambda: t.RadioModel(
        t.RadioConfig(**_vision(max_img_size=128, num_cls_tokens=4, num_registers=3, summary_idxs=[0, 2, 3]))
    ),
    # trained with text
    "siglip": lambda: t.SiglipVisionModel(t.SiglipVisionConfig(**_vision())),
    "siglip2": lambda: t.Siglip2VisionModel(t.Siglip2VisionConfig(**ViT, patch_size=16, num_patches=16)),
    "siglip with text": lambda: t.SiglipModel(
        t.SiglipConfig(text_config=TEXT, vision_config=_vision())
    ),
    "clip": lambda: t.CLIPVisionModel(t.CLIPVisionConfig(**_vision())),
    "clip with text": lambda: t.CLIPModel(
        t.CLIPConfig(text_config=TEXT, vision_config=_vision(), projection_dim=20)
    ),
    "metaclip_2": lambda: t.MetaClip2VisionModel(t.MetaClip2VisionConfig(**_vision())),
    "altclip": lambda: t.AltCLIPVisionModel(t.AltCLIPVisionConfig(**_vision())),
    "chinese_clip": lambda: t.ChineseCLIPVisionModel(t.ChineseCLIPVisionConfig(**_vision())),
    "mlcd": lambda: t.MLCDVisionModel(t.MLCDVisionConfig(**_vision())),
    "owlvit": lambda: t.OwlViTVisionModel(t.OwlViTVisionConfig(**_vision())),
    "blip": lambda: t.BlipVisionModel(t.BlipVisionConfig(**_vision())),
    "aimv2": lambda: t.Aimv2VisionModel(t.Aimv2VisionConfig(**_vision())),
    "aimv2 native": lambda: t.Aimv2VisionModel(t.Aimv2VisionConfig(**_vision(is_native=True, use_head=False))),
    "tipsv2": lambda: t.Tipsv2VisionModel(t.Tipsv2VisionConfig(**_vision())),
    "internvl": lambda: t.InternVLVisionModel(
        t.InternVLVisionConfig(**_vision(image_size=[64, 64], patch_size=[16, 16]))
    ),
    # segment anything
    "sam": lambda: t.SamVisionModel(
        t.SamVisionConfig(**_vision(output_channels=24, window_size=2, global_attn_indexes=[1], mlp_dim=96))
    ),
    "sam2": lambda: t.Sam2VisionModel(
        t.Sam2VisionConfig(
            backbone_config={
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "num_attention_heads": 1,
                "image_size": [128, 128],
                "blocks_per_stage": [1, 2, 2, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "num_attention_heads_per_stage": [1, 2, 4, 8],
                "window_size_per_stage": [8, 4, 14, 7],
                "global_attention_blocks": [4],
                "window_positional_embedding_background_size": [4, 4],
            },
            backbone_channel_list=[64, 32, 16, 8],
            backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
            fpn_hidden_size=16,
        )
    ),
    "sam3": lambda: t.Sam3VisionModel(
        t.Sam3VisionConfig(
            backbone_config=_vision(
                model_type="sam3_vit_model", pretrain_image_size=32, window_size=2, global_attn_indexes=[1]
            ),
            backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
            fpn_hidden_size=16,
        )
    ),
    "sam3 alone": lambda: t.Sam3ViTModel(
        t.models.sam3.configuration_sam3.Sam3ViTConfig(
            **_vision(image_size=64, pretrain_image_size=32, window_size=2, global_attn_indexes=[1])
        )
    ),
    # videos
    "vjepa2": lambda: t.VJEPA2Model(
        t.VJEPA2Config(
            crop_size=64,
            frames_per_clip=4,
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=3,
            pred_hidden_size=24,
            pred_num_attention_heads=2,
            pred_num_hidden_layers=1,
        )
    ),
    "videomae": lambda: t.VideoMAEModel(t.VideoMAEConfig(**_vision(num_frames=4))),
    # hierarchical and convolutional networks
    "hiera": lambda: t.HieraModel(
        t.HieraConfig(embed_dim=8, image_size=[64, 64], depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8])
    ),
    "swin": lambda: t.SwinModel(
        t.SwinConfig(image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2], window_size=2)
    ),
    "swinv2": lambda: t.Swinv2Model(
        t.Swinv2Config(image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2], window_size=2)
    ),
    "convnext": lambda: t.ConvNextModel(t.ConvNextConfig(**FOUR, image_size=64)),
    "convnextv2": lambda: t.ConvNextV2Model(t.ConvNextV2Config(**FOUR, image_size=64)),
    "dinov3_convnext": lambda: t.DINOv3ConvNextModel(t.DINOv3ConvNextConfig(**FOUR, image_size=64)),
    "resnet": lambda: t.ResNetModel(
        t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1])
    ),
    "regnet": lambda: t.RegNetModel(
        t.RegNetConfig(embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], groups_width=8)
    ),
    "segformer": lambda: t.SegformerModel(
        t.SegformerConfig(hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 2, 4])
    ),
    "pvt_v2": lambda: t.PvtV2Model(
        t.PvtV2Config(
            image_size=64, hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 2, 4]
        )
    ),
    "focalnet": lambda: t.FocalNetModel(
        t.FocalNetConfig(image_size=64, embed_dim=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1])
    ),
    "levit": lambda: t.LevitModel(
        t.LevitConfig(
            image_size=64, hidden_sizes=[16, 24, 32], num_attention_heads=[1, 2, 2], depths=[1, 1, 1],
            key_dim=[8, 8, 8],
        )
    ),
    "pixtral": lambda: t.PixtralVisionModel(t.PixtralVisionConfig(**{**_vision(), "num_attention_heads": 3})),
    "idefics3": lambda: t.Idefics3VisionTransformer(t.models.idefics3.Idefics3VisionConfig(**_vision())),
    "bit": lambda: t.BitModel(t.BitConfig(embedding_size=8, **FOUR, num_groups=4)),
    "dpt": lambda: t.DPTModel(t.DPTConfig(**_vision())),
}  # fmt: skip


def build(name: str, seed: int = 0) -> torch.nn.Module:
    """The family's network in evaluation mode, all its weights drawn (zeros and ones would hide mistakes)."""
    torch.manual_seed(seed)
    model = FAMILIES[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()
