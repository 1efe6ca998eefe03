"""The head: against a slow person-by-person implementation, independent of the batch, at any size, trainable."""

from dataclasses import replace

import pytest
import torch
from people_toys import PATCH, SMALL, made_cameras, made_cells, made_head, made_tokens
from torch import Tensor

from codistill.bodies.tiny import TinyBody
from codistill.errors import ConfigError
from codistill.heads.human_mesh.cells import PersonCells
from codistill.heads.human_mesh.network import HumanMeshConfig, HumanMeshHead
from codistill.heads.human_mesh.prediction import PeoplePrediction
from codistill.heads.human_mesh.tables import resize_table
from codistill.types import Tokens

FIELDS = ("score", "offset", "location", "encoded_depth", "head", "pose_6d", "rotmat", "shape")


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Attention by explicit loops over heads and queries: (q, inner), (k, inner), (k, inner)."""
    inner = query.shape[1] // heads
    out = torch.zeros_like(query)
    for head in range(heads):
        part = slice(head * inner, (head + 1) * inner)
        for i in range(len(query)):
            logits = key[:, part] @ query[i, part] * inner**-0.5
            weights = logits.exp() / logits.exp().sum()
            out[i, part] = weights @ value[:, part]
    return out


def slow_features(
    head: HumanMeshHead, tokens: Tensor, grid: tuple[int, int], k: Tensor, cells: list
) -> Tensor:
    """(person, channel) of one image whose people are at `cells`, straight from the description."""
    config = head.config
    rays = []
    for row in range(grid[0]):
        for column in range(grid[1]):
            pixel = torch.tensor([column * PATCH + 6.5, row * PATCH + 6.5, 1.0])
            ray = torch.linalg.inv(k) @ pixel
            bands = [
                1 + i * (config.max_resolution / 2 - 1) / (config.num_bands - 1)
                for i in range(config.num_bands)
            ]
            angles = torch.tensor([float(axis) * band * torch.pi for axis in ray for band in bands])
            rays.append(torch.cat((ray, angles.sin(), angles.cos())))
    context = torch.cat((tokens, torch.stack(rays)), dim=1)
    people = []
    for row, column in cells:
        query = (
            context[row * grid[1] + column] + head.tables.query_rows[row] + head.tables.query_columns[column]
        )
        start = torch.cat((query, head.init_pose[0], head.init_shape[0], head.init_camera[0]))
        people.append(head.embed.weight @ start + head.embed.bias + head.person_embedding[0, 0])
    context = context.clone()
    for row, column in cells:
        context[row * grid[1] + column] += head.tables.value_rows[row] + head.tables.value_columns[column]
    x = torch.stack(people)
    for layer in head.layers:
        query, key, value = (layer.self_attention.qkv(layer.self_norm(x))).chunk(3, dim=1)
        x = x + layer.self_attention.proj(attend(query, key, value, config.num_heads))
        query = layer.cross_attention.q(layer.cross_norm(x))
        key, value = layer.cross_attention.kv(context).chunk(2, dim=1)
        x = x + layer.cross_attention.proj(attend(query, key, value, config.num_heads))
        x = x + layer.mlp(layer.mlp_norm(x))
    return x


@torch.no_grad()
def test_equals_a_slow_implementation() -> None:
    head, tokens, cameras, cells = made_head(), made_tokens(), made_cameras(), made_cells()
    people = head(tokens, cameras, cells).people
    patches = head.norm(tokens.patches)
    for image, where in ((0, [(1, 2), (4, 2)]), (2, [(0, 5), (3, 3), (5, 0)])):
        chosen = cells.image == image
        x = slow_features(head, patches[image], (6, 6), cameras[image], where)
        pose = (x @ head.pose.weight.T + head.pose.bias + head.init_pose).unflatten(1, (5, 6))
        torch.testing.assert_close(people.pose_6d[chosen], pose, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(people.shape[chosen], head.shape(x), atol=1e-5, rtol=1e-5)
        depth = head.camera(x)[:, 0] + head.init_camera[0, 0]
        torch.testing.assert_close(people.encoded_depth[chosen], depth, atol=1e-5, rtol=1e-5)
        for i, (row, column) in enumerate(where):
            token = patches[image, row * 6 + column]
            offset = head.offset[2](head.offset[0](token).clamp(min=0))
            torch.testing.assert_close(people.offset[chosen][i], offset)
            expected = torch.stack(
                ((column + 0.5 + offset[0]) * 14 - 0.5, (row + 0.5 + offset[1]) * 14 - 0.5)
            )
            torch.testing.assert_close(people.location[chosen][i], expected)
            z = torch.exp(depth[i] * cameras[image, 0, 0] / (84 / (2 * 3**-0.5)))
            ray = torch.linalg.inv(cameras[image]) @ torch.cat((expected, torch.ones(1)))
            torch.testing.assert_close(people.head[chosen][i], ray * z.clamp(max=50.0), atol=1e-4, rtol=1e-4)


def differences(first: PeoplePrediction, second: PeoplePrediction) -> float:
    return max(float((getattr(first, name) - getattr(second, name)).abs().max()) for name in FIELDS)


def chosen(people: PeoplePrediction, index: Tensor) -> PeoplePrediction:
    cells = PersonCells.of(people.cells.image[index], people.cells.row[index], people.cells.column[index])
    fields = {name: getattr(people, name)[index] for name in (*FIELDS, "expression")}
    return PeoplePrediction(cells=cells, **fields)


@torch.no_grad()
def test_people_do_not_depend_on_other_images() -> None:
    head, tokens, cameras, cells = made_head(), made_tokens(), made_cameras(), made_cells()
    together = head(tokens, cameras, cells).people
    for image in (0, 2):
        mine = cells.image == image
        alone = head(
            Tokens(tokens.patches[image : image + 1], (6, 6), normed=False),
            cameras[image : image + 1],
            PersonCells.of(torch.zeros_like(cells.image[mine]), cells.row[mine], cells.column[mine]),
        ).people
        assert differences(alone, chosen(together, mine)) < 1e-5


@torch.no_grad()
def test_people_do_depend_on_each_other_and_their_order_does_not_matter() -> None:
    head, tokens, cameras, cells = made_head(), made_tokens(), made_cameras(), made_cells()
    together = head(tokens, cameras, cells).people
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = PersonCells.of(cells.image[order], cells.row[order], cells.column[order])
    assert differences(head(tokens, cameras, shuffled).people, chosen(together, order)) < 1e-5
    fewer = PersonCells.of(cells.image[:4], cells.row[:4], cells.column[:4])
    without = head(tokens, cameras, fewer).people
    assert (without.pose_6d[2:4] - together.pose_6d[2:4]).abs().max() > 1e-4
    torch.testing.assert_close(without.pose_6d[:2], together.pose_6d[:2], atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("config", [SMALL, replace(SMALL, window=(1, 2, 1))])
def test_padded_people_are_those_without_padding(config: HumanMeshConfig) -> None:
    """Rows that are no people change nothing for those that are."""
    head, tokens, cameras = made_head(config), made_tokens(), made_cameras()
    torch.nn.init.normal_(head.classify[2].weight)
    wanted = head(tokens, cameras, threshold=0.5).people
    padded = head(tokens, cameras, threshold=0.5, slots=20).people
    present = padded.cells.present
    assert present is not None and 0 < len(wanted) < len(padded) == 60
    assert differences(wanted, chosen(padded, present)) < 1e-4


def test_nobody_gives_empty_people_and_zero_gradients() -> None:
    head = made_head().train()
    nobody = PersonCells.of(*(torch.zeros(0, dtype=torch.int64) for _ in range(3)))
    output = head(made_tokens(), made_cameras(), nobody)
    people = output.people
    assert len(people) == 0 and people.rotmat.shape == (0, 5, 3, 3) and people.head.shape == (0, 3)
    (output.score_logits.sum() + sum(getattr(people, name).sum() for name in FIELDS)).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@torch.no_grad()
def test_detection_finds_what_scores_say() -> None:
    head, tokens, cameras = made_head(), made_tokens(), made_cameras()
    output = head(tokens, cameras, threshold=0.11)
    scores = output.score_logits.sigmoid()
    people = output.people
    assert len(people) > 0 and (people.score >= 0.11).all()
    torch.testing.assert_close(
        people.score, scores[people.cells.image, people.cells.row, people.cells.column]
    )
    given = head(tokens, cameras, people.cells).people
    assert differences(given, people) == 0.0
    everyone = head(tokens, cameras, threshold=0.0, kernel=1).people
    assert len(everyone) == 3 * 36 and everyone.rotmat.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("grid", [(6, 9), (9, 6), (12, 12), (3, 1)])
def test_any_grid(grid: tuple[int, int]) -> None:
    head = made_head()
    cells = PersonCells.of(
        torch.tensor([0, 1]), torch.tensor([0, grid[0] - 1]), torch.tensor([grid[1] - 1, 0])
    )
    people = head(made_tokens(2, grid), made_cameras(2), cells).people
    assert all(getattr(people, name).isfinite().all() for name in FIELDS)


@torch.no_grad()
def test_a_rectangle_reads_the_middle_of_the_tables() -> None:
    """Four rows of six columns are rows 1 to 4 of the padded square."""
    tables = made_head().tables
    row, column = torch.tensor([0, 3]), torch.tensor([5, 0])
    expected = tables.query_rows[[1, 4]] + tables.query_columns[[5, 0]]
    torch.testing.assert_close(tables.queries(row, column, (4, 6)), expected)
    expected = tables.value_rows[[5, 0]] + tables.value_columns[[1, 4]]
    torch.testing.assert_close(tables.values(column, row, (6, 4)), expected)


def test_tables_are_interpolated_linearly() -> None:
    ramp = torch.arange(4.0)[:, None].expand(4, 3)
    assert resize_table(ramp, 4) is ramp
    # Cell centres of eight cells over the same length lie at (i + 0.5) / 2 - 0.5 of the four.
    expected = ((torch.arange(8.0) + 0.5) / 2 - 0.5).clamp(0, 3)[:, None].expand(8, 3)
    torch.testing.assert_close(resize_table(ramp, 8), expected)


@torch.no_grad()
def test_a_fresh_head_starts_upright_four_metres_away() -> None:
    body = TinyBody()
    head = HumanMeshHead.for_body(
        body, encoder_dim=24, patch_size=PATCH, table_size=6, dim=32, num_bands=3, hidden=16
    )
    output = head(made_tokens(), torch.eye(3).repeat(3, 1, 1) * 72.75, made_cells())
    people = output.people
    torch.testing.assert_close(people.pose_6d, body.init_6d.expand(5, 5, 6), atol=0.05, rtol=0)
    torch.testing.assert_close(people.depth, torch.full((5,), 4.0), atol=0.4, rtol=0)
    assert 0.05 < float(output.score_logits.sigmoid().mean()) < 0.2


def test_every_parameter_gets_a_gradient() -> None:
    head = made_head(replace(SMALL, n_expression=3)).train()
    people = (output := head(made_tokens(), made_cameras(), made_cells())).people
    terms = [getattr(people, name).square().sum() for name in (*FIELDS, "expression")]
    (output.score_logits.square().sum() + sum(terms)).backward()
    assert people.expression.shape == (5, 3)
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@torch.no_grad()
def test_bfloat16_autocast_gives_full_precision_places() -> None:
    head, tokens, cameras, cells = made_head(), made_tokens(), made_cameras(), made_cells()
    exact = head(tokens, cameras, cells).people
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = Tokens(tokens.patches.bfloat16(), tokens.grid, normed=False)
        people = head(half, cameras, cells).people
    assert all(getattr(people, name).dtype == torch.float32 for name in FIELDS)
    assert (people.location - exact.location).abs().max() < 1.0
    torch.testing.assert_close(people.rotmat @ people.rotmat.mT, torch.eye(3).expand(5, 5, 3, 3))


@pytest.mark.slow
def test_training_forward_is_one_graph() -> None:
    """Given cells, nothing waits for the device and nothing depends on values: no graph break."""
    head = made_head().train()
    head.requires_grad_(False)
    compiled = torch.compile(head, backend="eager", fullgraph=True)
    arguments = made_tokens(), made_cameras(), made_cells()
    assert differences(compiled(*arguments).people, head(*arguments).people) < 1e-5


def test_published_parameter_counts() -> None:
    """Of the cross-attention head, without detection: Multi-HMR-L at 672 and -B at 448 pixels."""
    for dim, cells, n_shape, expected in ((1024, 48, 10, 10_566_549), (768, 32, 10, 9_937_621)):
        config = HumanMeshConfig(
            encoder_dim=dim,
            patch_size=14,
            n_rot=53,
            n_shape=n_shape,
            n_expression=10,
            table_size=cells,
            fresh_norm=False,
        )
        with torch.device("meta"):
            head = HumanMeshHead(config)
        assert config.context_dim == dim + 99
        named = dict(head.named_parameters())
        detection = sum(p.numel() for name, p in named.items() if name.startswith(("classify.", "offset.")))
        assert sum(p.numel() for p in named.values()) - detection == expected
        assert named["embed.weight"].shape == (1024, config.context_dim + 318 + n_shape + 3)
        assert named["layers.1.cross_attention.kv.weight"].shape == (512, dim + 99)


def test_what_does_not_fit_is_named() -> None:
    head, cameras, cells = made_head(), made_cameras(), made_cells()
    normed = replace(made_tokens(), normed=True)
    with pytest.raises(ValueError, match=r"takes un-normed tokens.*encoder\(images, norm=False\)"):
        head(normed, cameras, cells)
    with pytest.raises(ValueError, match="an encoder of 24 channels; the tokens have 32"):
        head(made_tokens(dim=32), cameras, cells)
    with pytest.raises(ValueError, match=r"intrinsics must be \(3, 3, 3\).*got \(3, 3\)"):
        head(made_tokens(), cameras[0], cells)
    with pytest.raises(ConfigError, match="num_bands must be 1 or more; got 0"):
        replace(SMALL, num_bands=0)
    with pytest.raises(ConfigError, match="initial_depth must be between 0 and max_depth"):
        replace(SMALL, initial_depth=80.0)
    with pytest.raises(ValueError, match=r"init_6d must be \(5, 6\); got \(53, 6\)"):
        HumanMeshHead(SMALL, torch.zeros(53, 6))
