"""A distillation step computed as in published code, for comparison: a recipe in, its step in plain PyTorch out.

It was written for this benchmark after such code and its papers (DUNE, section 4; UNIC). Everything is fp32, and every
teacher sees every image. Linear layers and norms are PyTorch's; residuals are scaled and added one by one. Target
statistics, losses and their logged numbers are computed term by term, each read back to the host (`.item()`). Gradients
are clipped tensor by tensor, and the optimizer is PyTorch's own AdamW. The loss is that of `DistillationObjective` with
full sharing; a test compares them.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, gelu, smooth_l1_loss

from codistill.bench.timing import Best, measured
from codistill.distill.dropping import lowest_loss_dropping, uniform_draws
from codistill.engine.optim import decayed
from codistill.errors import ConfigError
from codistill.nn.blocks import Block, Mlp
from codistill.nn.linear import left_to_blas
from codistill.recipes.build import build_bank, build_student
from codistill.recipes.recipe import Recipe
from codistill.student.statistics import KindStatistics, TargetStatistics
from codistill.types import Batch, TokenKind


def _plain_block(block: Block) -> None:
    """Make a block run its operations one by one, without fused ones."""
    mlp = block.mlp
    assert isinstance(mlp, Mlp)

    def forward(x: Tensor, rope: object = None) -> Tensor:
        x = x + block.ls1(block.attn(block.norm1(x), rope))  # type: ignore[arg-type]
        return x + block.ls2(mlp.fc2(gelu(mlp.fc1(block.norm2(x)))))

    block.forward = forward  # type: ignore[method-assign]


def _make_plain(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, Block):
            _plain_block(part)


class PublishedLikeStep:
    """One recipe's optimizer step, see the module docstring.

    Args:
        recipe: teachers, student, loss, optimizer; its precision and sharing are not used.
        batch: the batch of every step.
        device: device on which it runs.

    Raises:
        ConfigError: for a recipe with other losses or target statistics than the published ones.
    """

    def __init__(self, recipe: Recipe, batch: Batch, device: torch.device) -> None:
        _check(recipe)
        exact = replace(
            recipe, teachers=tuple(replace(teacher, precision="fp32") for teacher in recipe.teachers)
        )
        self.recipe, self.batch, self.device = recipe, batch, device
        self.bank = build_bank(exact, device).to(device)
        self.student = build_student(exact, self.bank.target_specs())[0].to(device).train()
        _make_plain(self.bank)
        _make_plain(self.student)
        named = [(name, p) for name, p in self.student.named_parameters() if p.requires_grad]
        self.parameters = [p for _, p in named]
        config = recipe.optim
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for n, p in named if decayed(n, p) == decays], "weight_decay": decay}
                for decays, decay in ((True, config.weight_decay), (False, 0.0))
            ],
            lr=1e-5,
            betas=config.betas,
            eps=config.eps,
        )
        self.best, self.count, self.logged = Best(), 0, dict[str, float]()

    def run(self) -> float:
        """Run one step; returns its loss."""
        with left_to_blas():
            loss = self.loss()
            self.optimizer.zero_grad()
            loss.backward()
            for parameter in self.parameters:  # clips each tensor by itself
                assert parameter.grad is not None
                factor = self.recipe.optim.clip_norm / (parameter.grad.norm() + 1e-6)
                if factor < 1:
                    parameter.grad.mul_(factor)
            self.optimizer.step()
        self.count += 1
        return loss.item()

    def measure(self) -> None:
        """Run one step and add its times to `best`."""
        self.best.saw(*measured(self.run, self.device))

    def loss(self) -> Tensor:
        """Compute the step's loss and log its terms."""
        images = self.batch.images
        predictions = self.student(images)
        rows = []
        for target in self.student.targets:
            kinds = [
                self._of_kind(target.name, kind, predictions[target.name].of_kind(kind))
                for kind in target.kinds
            ]
            rows.append(sum(kinds) / len(kinds))
        table = torch.stack(rows)  # type: ignore[arg-type]  (teacher, image)
        dropping = self.recipe.distill.dropping
        draws = uniform_draws(
            seed=self.recipe.engine.seed, step=self.count, slots=range(len(images)), teachers=len(table)
        )
        allowed = torch.ones_like(table)
        kept = lowest_loss_dropping(table, allowed, draws.to(table), dropping.probability)
        return (kept * table).sum() / kept.sum()

    def _of_kind(self, teacher: str, kind: TokenKind, prediction: Tensor | None) -> Tensor:
        """Losses (image,) for a teacher's tokens of one kind."""
        target = self._target(teacher, kind)
        assert prediction is not None
        cosine = 1.0 - cosine_similarity(prediction, target, dim=-1)
        smooth = smooth_l1_loss(prediction, target, reduction="none").mean(-1)
        if kind == "patch":
            cosine, smooth = cosine.mean(1), smooth.mean(1)
        for name, value in (("cosine", cosine), ("smooth_l1", smooth)):
            self.logged[f"{teacher}/{kind}/{name}"] = value.mean().item()
        weights = self.recipe.distill.loss.of_kind(kind)
        return weights["cosine"] * cosine + weights["smooth_l1"] * smooth

    @torch.no_grad()
    def _target(self, teacher: str, kind: TokenKind) -> Tensor:
        """Standardized targets; the teacher runs once per step, for its first kind."""
        network = self.bank[teacher]
        if kind == network.kinds[0]:
            self._tokens = network(self.batch.images, self.recipe.student.patch_size)
        x = self._tokens.of_kind(kind)
        assert x is not None
        channels = x.flatten(0, -2)
        mean, std = channels.mean(0), channels.std(0)
        statistics: TargetStatistics = self.student.target_statistics[teacher]  # type: ignore[assignment]
        kept: KindStatistics = statistics.of_kind(kind)
        kept.update(mean, std, 0.5)
        self.logged[f"{teacher}/{kind}/mean"], self.logged[f"{teacher}/{kind}/std"] = (
            mean.mean().item(),
            std.mean().item(),
        )
        return (x - mean) / std.clamp(min=self.recipe.distill.targets.std_floor)


def _check(recipe: Recipe) -> None:
    distill = recipe.distill
    names = {name for kind in ("cls", "patch") for name in distill.loss.of_kind(kind)}  # type: ignore[arg-type]
    if (
        names != {"cosine", "smooth_l1"}
        or distill.targets.statistics != "batch"
        or distill.dropping.mode != "lowest_loss"
        or recipe.optim.clip != "per_tensor"
        or recipe.engine.accumulate != 1
    ):
        raise ConfigError(
            "--against published-like measures the published loss: cosine and smooth_l1, batch statistics, lowest_loss "
            "dropping, clip per_tensor and no accumulation. Leave these fields of the recipe as they are."
        )
