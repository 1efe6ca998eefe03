"""The human-mesh head: from `Tokens` and intrinsics to a score per cell and a person per chosen cell.

Every token is scored. A person's query is the token at the person's head together with the camera ray through it. The
query attends to the other people of the image and to all tokens with their rays, and gives 6-D rotations, shape,
expression and depth. The body model is not part of the head; it only defines the numbers of rotations and shape
coefficients. Images may have any size: see `tables`.

Source: Multi-HMR (arXiv 2402.14654), section 3.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from codistill.bodies.base import IDENTITY_6D, BodyModel
from codistill.errors import ConfigError, check_least
from codistill.heads.human_mesh.attention import PeopleLayer, slot_mask
from codistill.heads.human_mesh.camera import cell_rays, fourier_features
from codistill.heads.human_mesh.cells import (
    DETECTION_THRESHOLD,
    PersonCells,
    detect_most,
    detect_people,
    score_from_logits,
)
from codistill.heads.human_mesh.prediction import HumanMeshOutput, PeoplePrediction, RawPeople, decode_people
from codistill.heads.human_mesh.tables import CellTables
from codistill.heads.human_mesh.window import WindowReading
from codistill.nn.precision import full_precision
from codistill.types import Tokens

PRIOR = 0.1
"""Score of every cell before training (the focal loss expects people to be rare)."""


@dataclass(frozen=True, kw_only=True)
class HumanMeshConfig:
    """Architecture of a `HumanMeshHead`.

    Attributes:
        encoder_dim, patch_size: token width and patch size of the encoder.
        n_rot, n_shape, n_expression: numbers of rotations, shape and expression coefficients of the body model.
        table_size: cells along an image side for which the learned tables were made.
        fresh_norm: take un-normed tokens through a new LayerNorm; False takes tokens with the encoder's final norm
            applied, as the released files do.
        dim, depth, num_heads, head_dim, hidden: sizes of the cross-attention head.
        num_bands, max_resolution: Fourier features of the rays.
        swapped_rays: use a cell's (row, column) as its (x, y) in the rays: a bug of the published code, needed for its
            files only.
        max_depth: largest depth of a person's head, metres.
        initial_depth: depth in metres of people before training, at a field of view of 60 degrees.
        window: rows above, rows below and columns to each side of a head's cell that a `WindowReading` reads; None
            (published): none.
    """

    encoder_dim: int
    patch_size: int
    n_rot: int
    n_shape: int
    n_expression: int = 0
    table_size: int = 32
    fresh_norm: bool = True
    dim: int = 1024
    depth: int = 2
    num_heads: int = 8
    head_dim: int = 32
    hidden: int = 1024
    num_bands: int = 16
    max_resolution: float = 64.0
    swapped_rays: bool = False
    max_depth: float = 50.0
    initial_depth: float = 4.0
    window: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        counts = ("encoder_dim", "patch_size", "n_rot", "n_shape", "table_size", "dim", "depth", "num_heads")
        check_least(self, *counts, "head_dim", "hidden", "num_bands")
        check_least(self, "n_expression", least=0)
        if not self.max_resolution >= 2.0:
            raise ConfigError(f"max_resolution must be at least 2; got {self.max_resolution}")
        if self.window is not None and min(self.window) < 0:
            raise ConfigError(f"window must be three numbers of 0 or more; got {self.window}")
        if not 0.0 < self.initial_depth < self.max_depth:
            raise ConfigError(
                f"initial_depth must be between 0 and max_depth ({self.max_depth} m); got {self.initial_depth}"
            )

    @property
    def context_dim(self) -> int:
        """Channels of a token with its ray."""
        return self.encoder_dim + 3 + 6 * self.num_bands

    @property
    def query_dim(self) -> int:
        """Channels of a person's query: a token with its ray, and the initial pose, shape and camera."""
        return self.context_dim + 6 * self.n_rot + self.n_shape + 3


class HumanMeshHead(nn.Module):
    """See the module's text.

    Args:
        config: the architecture.
        init_6d: (n_rot, 6) rotations to which the head's output is added, e.g. `BodyModel.init_6d`; None: identities.
    """

    init_pose: Tensor
    init_shape: Tensor
    init_camera: Tensor
    init_expression: Tensor

    def __init__(self, config: HumanMeshConfig, init_6d: Float[Tensor, "rotation 6"] | None = None) -> None:
        super().__init__()
        self.config = config
        width, context = config.encoder_dim, config.context_dim
        if config.fresh_norm:
            self.norm = nn.LayerNorm(width)
        self.classify = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.offset = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))
        self.tables = CellTables(config.table_size, context)
        self.embed = nn.Linear(config.query_dim, config.dim)
        self.person_embedding = nn.Parameter(torch.empty(1, 1, config.dim))
        self.layers = nn.ModuleList(
            PeopleLayer(config.dim, context, config.num_heads, config.head_dim, config.hidden)
            for _ in range(config.depth)
        )
        self.pose = nn.Linear(config.dim, 6 * config.n_rot)
        self.shape = nn.Linear(config.dim, config.n_shape)
        self.camera = nn.Linear(config.dim, 3)
        if config.window is not None:
            self.around = WindowReading(width, config.window, 6 * config.n_rot + config.n_shape)
        if config.n_expression:
            self.expression = nn.Linear(config.dim, config.n_expression)
            self.register_buffer("init_expression", torch.zeros(1, config.n_expression))
        if init_6d is None:
            init_6d = torch.tensor(IDENTITY_6D).expand(config.n_rot, 6)
        if init_6d.shape != (config.n_rot, 6):
            raise ValueError(f"init_6d must be ({config.n_rot}, 6); got {tuple(init_6d.shape)}")
        self.register_buffer("init_pose", init_6d.detach().float().reshape(1, -1).clone())
        self.register_buffer("init_shape", torch.zeros(1, config.n_shape))
        camera = torch.tensor([[math.log(config.initial_depth), 0.0, 0.0]])
        self.register_buffer("init_camera", camera)
        self.reset_parameters()

    @classmethod
    def for_body(
        cls, body: BodyModel, *, encoder_dim: int, patch_size: int, **config: Any
    ) -> "HumanMeshHead":
        """An untrained head for a body model and an encoder's width and patch size; `config`: see `HumanMeshConfig`."""
        made = HumanMeshConfig(
            encoder_dim=encoder_dim,
            patch_size=patch_size,
            n_rot=body.n_rot,
            n_shape=body.n_shape,
            n_expression=getattr(body, "n_expression", 0),
            **config,
        )
        return cls(made, body.init_6d)

    def reset_parameters(self) -> None:
        """Initialize so that people start near the initial pose and depth, and cells near the score `PRIOR`."""
        self.tables.reset_parameters()
        nn.init.normal_(self.person_embedding)
        nn.init.constant_(self.classify[2].bias, math.log(PRIOR / (1 - PRIOR)))  # pyright: ignore[reportArgumentType]
        last = [self.pose, self.shape, self.camera, *([self.expression] if self.config.n_expression else [])]
        for layer in last:
            nn.init.xavier_uniform_(layer.weight, gain=0.01)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        tokens: Tokens,
        intrinsics: Float[Tensor, "batch 3 3"],
        cells: PersonCells | None = None,
        *,
        threshold: float = DETECTION_THRESHOLD,
        kernel: int = 3,
        slots: int | None = None,
    ) -> HumanMeshOutput:
        """Scores of all cells, and people at the given cells or at detected ones.

        Args:
            tokens: tokens of any grid.
            intrinsics: in pixels of the encoder's input.
            cells: cells of the people (training); None: they are detected, which synchronizes with the device once.
            threshold, kernel: for the detection, see `detect_people`.
            slots: detect this many cells of every image instead, without synchronization, see `detect_most`.

        Raises:
            ValueError: if tokens are normed where un-normed ones are needed or the other way round, or do not fit.
        """
        self._check(tokens, intrinsics)
        patches = self.norm(tokens.patches) if self.config.fresh_norm else tokens.patches
        logits = self.classify(patches)[..., 0].unflatten(1, tokens.grid)  # (batch, row, column)
        if cells is None:
            scores = score_from_logits(logits.detach())
            if slots is None:
                cells = detect_people(scores, threshold, kernel)
            else:
                cells = detect_most(scores, slots, threshold, kernel)
        around = None if self.config.window is None else self.around(tokens.patches, tokens.grid, cells)
        people = self.at_cells(patches, tokens.grid, intrinsics, logits, cells, around)
        return HumanMeshOutput(logits, people)

    def at_cells(
        self,
        patches: Float[Tensor, "batch patch channel"],
        grid: tuple[int, int],
        intrinsics: Tensor,
        logits: Tensor,
        cells: PersonCells,
        around: Tensor | None = None,
    ) -> PeoplePrediction:
        """The people at these cells; `patches` after the new norm, if there is one; `around` from the window."""
        place = cells.image, cells.row * grid[1] + cells.column  # (person,) each: image, patch
        features = self._attend(patches, grid, intrinsics, cells, place)
        raw = self._raw(features, logits.flatten(1)[place], self.offset(patches[place]))
        if around is not None:
            pose, shape = around.split((raw.pose.shape[1], raw.shape.shape[1]), dim=1)
            raw = replace(raw, pose=raw.pose + pose, shape=raw.shape + shape)
        return decode_people(raw, cells, intrinsics, grid, self.config.patch_size, self.config.max_depth)

    def _attend(
        self,
        patches: Tensor,
        grid: tuple[int, int],
        intrinsics: Tensor,
        cells: PersonCells,
        place: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Features (person, channel) after the layers."""
        config = self.config
        with full_precision(patches):
            rays = cell_rays(intrinsics.float(), grid, config.patch_size, swapped=config.swapped_rays)
            rays = fourier_features(rays, config.num_bands, config.max_resolution)
        context = torch.cat((patches, rays.to(patches.dtype)), dim=-1)  # (batch, patch, channel + ray)
        central = context[place]  # (person, channel + ray)
        query = central + self.tables.queries(cells.row, cells.column, grid)  # (person, channel + ray)
        marked = central + self.tables.values(cells.row, cells.column, grid)
        if cells.present is not None:
            marked = torch.where(cells.present[:, None], marked, central)
        context = context.index_put(place, marked.to(context.dtype))
        start = torch.cat((self.init_pose, self.init_shape, self.init_camera), dim=1)  # (1, number)
        token = (
            self.embed(torch.cat((query, start.expand(cells.image.shape[0], -1)), dim=-1))
            + self.person_embedding[0]
        )
        seat = cells.image, cells.slot  # (person,) each: from the flat row to (image, slot)
        x = token.new_zeros(patches.shape[0], cells.slots, config.dim).index_put(seat, token)
        people = torch.ones_like(cells.slot, dtype=torch.bool) if cells.present is None else cells.present
        occupied = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device).index_put(seat, people)
        mask = slot_mask(occupied)  # (image, 1, slot, slot)
        for layer in self.layers:
            x = layer(x, context, mask)  # (image, slot, dim)
        return x[seat].to(token.dtype)  # (person, channel)

    def _raw(self, features: Tensor, logit: Tensor, offset: Tensor) -> RawPeople:
        """Outputs of the last layers; the sum with the initial values, and all that follows, is in fp32."""
        if self.config.n_expression:
            expression = self.expression(features).float() + self.init_expression
        else:
            expression = features.new_zeros(features.shape[0], 0)
        return RawPeople(
            logit=logit,
            offset=offset,
            pose=self.pose(features).float() + self.init_pose,
            shape=self.shape(features).float() + self.init_shape,
            encoded_depth=self.camera(features)[:, 0].float() + self.init_camera[:, 0],
            expression=expression,
        )

    def _check(self, tokens: Tokens, intrinsics: Tensor) -> None:
        wanted = not self.config.fresh_norm
        if tokens.normed != wanted:
            raise ValueError(
                f"this head takes {'normed' if wanted else 'un-normed'} tokens and got "
                f"{'normed' if tokens.normed else 'un-normed'} ones. Call encoder(images, norm={wanted})."
            )
        batch, _, width = tokens.patches.shape
        if width != self.config.encoder_dim:
            raise ValueError(
                f"this head sits on an encoder of {self.config.encoder_dim} channels; the tokens have {width}"
            )
        if intrinsics.shape != (batch, 3, 3):
            raise ValueError(
                f"intrinsics must be ({batch}, 3, 3), one per image; got {tuple(intrinsics.shape)}"
            )
