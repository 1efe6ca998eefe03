"""Apply several linear heads at once to the same frozen features, with one matrix product for all of them.

The heads differ in their learning rate. The first axis of all parameters is the head; `pick` returns one head as an
ordinary one. Batch statistics depend only on the features, so all segmentation heads share them.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from codistill.heads.linear.depth import DepthHead, DepthHeadConfig, depth_of_scores
from codistill.heads.linear.normals import NormalsHead, NormalsHeadConfig
from codistill.heads.linear.segmentation import SegmentationHead, SegmentationHeadConfig


def _repeated(tensor: Tensor, heads: int) -> nn.Parameter:
    return nn.Parameter(tensor.detach().expand(heads, *tensor.shape).clone())


class SegmentationHeads(nn.Module):
    """`heads` copies of one newly initialized `SegmentationHead`.

    Keys: `weight` (head, class, channel), `bias` (head, class), `gain`, `shift` (head, channel), `running_mean`,
    `running_var` (channel,).
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, config: SegmentationHeadConfig, heads: int) -> None:
        super().__init__()
        self.config, self.heads = config, heads
        one = SegmentationHead(config)
        assert one.conv_seg.bias is not None
        self.eps, self.momentum = one.bn.eps, one.bn.momentum or 0.1
        self.weight = _repeated(one.conv_seg.weight[:, :, 0, 0], heads)
        self.bias = _repeated(one.conv_seg.bias, heads)
        self.gain = _repeated(one.bn.weight, heads)
        self.shift = _repeated(one.bn.bias, heads)
        self.register_buffer("running_mean", torch.zeros(config.channels))
        self.register_buffer("running_var", torch.ones(config.channels))

    @torch.no_grad()
    def statistics(
        self, tokens: Float[Tensor, "batch patch channel"]
    ) -> tuple[Float[Tensor, " channel"], Float[Tensor, " channel"]]:
        """Mean and (biased) variance of whole maps, as in batch norm; also updates the running ones."""
        flat = tokens.flatten(0, 1).float()  # (batch x patch, channel)
        variance, mean = torch.var_mean(flat, dim=0, correction=0)
        count = flat.shape[0]
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)
        return mean, variance

    def forward(
        self, features: Float[Tensor, "pixel channel"], mean: Tensor | None = None, var: Tensor | None = None
    ) -> Float[Tensor, "head pixel class"]:
        """Scores at pixels (see `sampling.features_at`), normalized by running statistics unless others are given."""
        mean = self.running_mean if mean is None else mean
        var = self.running_var if var is None else var
        normal = (features.float() - mean) * torch.rsqrt(var + self.eps)  # (pixel, channel)
        # Batch norm's gain and shift are folded into weight and bias, so that all heads share `normal`.
        weight = self.weight * self.gain[:, None, :]  # (head, class, channel)
        bias = self.bias + torch.einsum("hkc,hc->hk", self.weight, self.shift)
        return _scores(normal, weight, bias)

    def pick(self, index: int) -> SegmentationHead:
        """One head, in evaluation mode, which shares no memory with the others."""
        head = SegmentationHead(self.config)
        head.load_state_dict(
            {
                "bn.weight": self.gain[index],
                "bn.bias": self.shift[index],
                "bn.running_mean": self.running_mean,
                "bn.running_var": self.running_var,
                "bn.num_batches_tracked": head.bn.num_batches_tracked,
                "conv_seg.weight": self.weight[index][:, :, None, None],
                "conv_seg.bias": self.bias[index],
            }
        )
        return head.eval()


class DepthHeads(nn.Module):
    """`heads` copies of one newly initialized `DepthHead`.

    Keys: `weight` (head, bin, channel), `bias` (head, bin).
    """

    centres: Tensor

    def __init__(self, config: DepthHeadConfig, heads: int) -> None:
        super().__init__()
        self.config, self.heads = config, heads
        one = DepthHead(config)
        assert one.conv_depth.bias is not None
        self.weight = _repeated(one.conv_depth.weight[:, :, 0, 0], heads)
        self.bias = _repeated(one.conv_depth.bias, heads)
        self.register_buffer("centres", one.centres, persistent=False)

    def forward(self, features: Float[Tensor, "pixel channel"]) -> Float[Tensor, "head pixel"]:
        """Depth (metres) at positions, from interpolated features."""
        return self._depth(_flat_scores(features.float(), self.weight, self.bias))

    def in_views(
        self,
        features: Float[Tensor, "view place channel"],
        cls: Float[Tensor, "view channel"] | None,
        levels: int,
    ) -> Float[Tensor, "head view place"]:
        """Depth (metres) at positions in views, with each view's class tokens concatenated as in `depth_input`.

        A class token's contribution to the scores is constant over its view; computing it once halves the work.

        Args:
            features: features of all levels, concatenated. cls: class tokens likewise, or None.
            levels: number of levels.
        """
        if cls is None:
            depth = self.forward(features.flatten(0, 1))
            return depth.view(self.heads, *features.shape[:2])
        patch, token = (
            part.flatten(2) for part in self.weight.unflatten(2, (levels, 2, -1)).unbind(3)
        )  # (head, bin, level x channel) each
        views, places, _ = features.shape
        beside = _flat_scores(cls.float(), token, self.bias)  # (view, head x bin)
        # A view's contribution is the weight of one more channel, which is 1 at the view's positions and 0 elsewhere.
        of_view = torch.eye(views, device=features.device).repeat_interleave(places, dim=0)
        inputs = torch.cat((features.flatten(0, 1).float(), of_view), dim=1)
        weights = torch.cat((patch.flatten(0, 1).T, beside), dim=0)  # (channel + view, head x bin)
        return self._depth(inputs @ weights).unflatten(1, (views, places))

    def _depth(self, scores: Float[Tensor, "pixel head_x_bin"]) -> Float[Tensor, "head pixel"]:
        return depth_of_scores(scores.unflatten(1, (self.heads, -1)), self.centres, dim=2).T

    def pick(self, index: int) -> DepthHead:
        head = DepthHead(self.config)
        weight, bias = self.weight[index][:, :, None, None], self.bias[index]
        head.load_state_dict({"conv_depth.weight": weight, "conv_depth.bias": bias})
        return head.eval()


class NormalsHeads(nn.Module):
    """`heads` copies of one newly initialized `NormalsHead`.

    Keys: `weight` (head, score, channel), `bias` (head, score).
    """

    def __init__(self, config: NormalsHeadConfig, heads: int) -> None:
        super().__init__()
        self.config, self.heads = config, heads
        one = NormalsHead(config)
        assert one.conv_normals.bias is not None
        self.weight = _repeated(one.conv_normals.weight[:, :, 0, 0], heads)
        self.bias = _repeated(one.conv_normals.bias, heads)

    def forward(self, features: Float[Tensor, "pixel channel"]) -> Float[Tensor, "head pixel 4"]:
        """Scores at pixels, from interpolated features."""
        return _scores(features.float(), self.weight, self.bias)

    def pick(self, index: int) -> NormalsHead:
        head = NormalsHead(self.config)
        weight, bias = self.weight[index][:, :, None, None], self.bias[index]
        head.load_state_dict({"conv_normals.weight": weight, "conv_normals.bias": bias})
        return head.eval()


def _scores(
    features: Float[Tensor, "pixel channel"],
    weight: Float[Tensor, "head out channel"],
    bias: Float[Tensor, "head out"],
) -> Float[Tensor, "head pixel out"]:
    heads, outputs, _ = weight.shape
    return _flat_scores(features, weight, bias).view(-1, heads, outputs).transpose(0, 1)


def _flat_scores(
    features: Float[Tensor, "pixel channel"],
    weight: Float[Tensor, "head out channel"],
    bias: Float[Tensor, "head out"],
) -> Float[Tensor, "pixel head_x_out"]:
    return torch.addmm(bias.flatten(), features, weight.flatten(0, 1).T)
