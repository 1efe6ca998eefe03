"""What networks do differently while they are exported."""

import torch
from torch import Tensor, nn

from codistill.encoders.load import load_encoder
from codistill.nn.rope import cached_grid_tables
from codistill.nn.tracing import cached_unless_exporting, is_symbolic


def test_a_table_is_computed_once_but_never_kept_from_an_export() -> None:
    calls = []

    @cached_unless_exporting(maxsize=4)
    def table(count: int) -> Tensor:
        calls.append(count)
        return torch.arange(count).float()

    class Adds(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + table(3)

    assert table(3) is table(3) and calls == [3]
    program = torch.export.export(Adds(), (torch.zeros(2, 3),), strict=False)
    assert calls == [3, 3]
    assert type(table(3)) is Tensor  # not the export's tensor without numbers
    assert torch.equal(program.module()(torch.ones(2, 3)), torch.tensor([[1.0, 2, 3]] * 2))


def test_numbers_are_not_symbols() -> None:
    assert not is_symbolic(3, 4)


def test_a_network_with_rotary_positions_and_its_own_normalization_is_exported_and_still_runs() -> None:
    """Both keep tables from call to call."""
    encoder = load_encoder("random:vit_tiny,dim=32,depth=1,num_heads=2,position=rope")
    encoder.spec = type(encoder.spec)(**{**vars(encoder.spec), "mean": (0.5,) * 3, "std": (0.5,) * 3})
    images = torch.randn(2, 3, 28, 42)
    cached_grid_tables(1, 1, 16, 100.0, images.device)
    wanted = encoder(images).patches
    program = torch.export.export(encoder, (images,), strict=False)
    torch.testing.assert_close(program.module()(images).patches, wanted)
    other = torch.randn(1, 3, 14, 28)  # a grid whose tables were never made outside of the export
    torch.export.export(encoder, (other,), strict=False)
    assert torch.isfinite(encoder(other).patches).all()
