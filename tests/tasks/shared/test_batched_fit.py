import pytest
import torch
from torch import nn

from codistill.errors import ConfigError
from codistill.tasks.shared.batched_fit import STATE, FitPlan, HeadsAdamW, HeadsSGD, fit_heads

RATES = (1e-3, 1e-2, 1e-1)


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(1, 4, 3, generator=generator).repeat(3, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3, 4))
        self.register_buffer("seen", torch.zeros(()))


def losses(heads: Heads, step: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(step)
    x, y = torch.randn(8, 3, generator=generator), torch.randn(8, 4, generator=generator)
    heads.seen += 1
    predicted = torch.einsum("hkc,nc->hnk", heads.weight, x) + heads.bias[:, None]
    return (predicted - y).square().mean((1, 2)) * 10


@pytest.mark.parametrize("clip", [None, 0.5])
def test_each_head_moves_as_under_an_adamw_of_its_own(tmp_path, clip):
    heads = Heads()
    optimizer = HeadsAdamW(heads, RATES, weight_decay=0.1, clip_norm=clip)
    factors = [0.5, 1.0, 1.0, 0.25, 0.1]
    fit_heads(heads, losses, optimizer, FitPlan(factors=factors), tmp_path)
    for index, rate in enumerate(RATES):
        single = Heads()
        adamw = torch.optim.AdamW(single.parameters(), lr=0.0, weight_decay=0.1)
        for step, factor in enumerate(factors):
            adamw.zero_grad()
            losses(single, step)[index].backward()
            if clip is not None:
                nn.utils.clip_grad_norm_([p for p in single.parameters() if p.grad is not None], clip)
            adamw.param_groups[0]["lr"] = rate * factor
            adamw.step()
        torch.testing.assert_close(heads.weight[index], single.weight[index], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(heads.bias[index], single.bias[index], rtol=1e-4, atol=1e-6)


def test_each_head_moves_as_under_an_sgd_of_its_own(tmp_path):
    heads = Heads()
    factors = [1.0, 0.5, 0.25, 0.1]
    fit_heads(heads, losses, HeadsSGD(heads, RATES), FitPlan(factors=factors), tmp_path)
    for index, rate in enumerate(RATES):
        single = Heads()
        sgd = torch.optim.SGD(single.parameters(), lr=0.1, momentum=0.9)
        for step, factor in enumerate(factors):
            sgd.zero_grad()
            losses(single, step)[index].backward()
            sgd.param_groups[0]["lr"] = rate * factor
            sgd.step()
        torch.testing.assert_close(heads.weight[index], single.weight[index], rtol=1e-4, atol=1e-6)


class InterruptedFitError(Exception):
    pass


def fitted(folder, stop: int | None = None) -> Heads:
    heads = Heads()

    def until(module: Heads, step: int) -> torch.Tensor:
        if step == stop:
            raise InterruptedFitError
        return losses(module, step)

    plan = FitPlan(factors=[1.0] * 9, save_every=2)
    fit_heads(heads, until, HeadsAdamW(heads, RATES), plan, folder)
    return heads


def test_an_interrupted_fit_ends_the_same_bit_for_bit(tmp_path):
    whole = fitted(tmp_path)
    folder = tmp_path / "again"
    folder.mkdir()
    for stop in (3, 6, 8):
        with pytest.raises(InterruptedFitError):
            fitted(folder, stop)
    resumed = fitted(folder)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name])
    assert torch.equal(fitted(folder).weight, whole.weight)  # a finished one is loaded


def test_a_damaged_state_costs_only_time(tmp_path):
    whole = fitted(tmp_path)
    (tmp_path / STATE).write_bytes(b"damaged")
    assert torch.equal(fitted(tmp_path).weight, whole.weight)


def test_a_plan_needs_steps():
    with pytest.raises(ConfigError, match="needs steps"):
        FitPlan(factors=[])
