"""SatMAE's multispectral encoder (Cong et al. 2022): a vision transformer whose patches are split by groups of bands.

Parameters have the names of the published checkpoints, with `blocks` as timm's.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from bandbridge.base.errors import UserError
from bandbridge.models.checkpoint_files import read_checkpoint
from bandbridge.models.state_dicts import choose, must_fit, must_hold_numbers

# A pretraining checkpoint also contains the decoder, one fine-tuned on classes a classifier.
UNUSED = ("decoder_", "mask_token", "head.")


class GroupChannelViT(nn.Module):
    """Every patch becomes one token per group of bands; the outputs of all tokens are averaged.

    A token is its patch's embedding plus the concatenated embeddings of its position (width - channel_embed) and of its
    group (channel_embed).

    Args:
        bands: of the input, in order.
        groups: names of the bands per group.
        image_size: side of the input in pixels.
        patch_size: side of a patch in pixels.
        embed_dim: width of the tokens.
        depth: number of blocks.
        num_heads: of the attention.
        channel_embed: width of the group's embedding.
    """

    def __init__(
        self,
        bands: Sequence[str],
        groups: Sequence[Sequence[str]],
        image_size: int,
        patch_size: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        channel_embed: int,
    ) -> None:
        super().__init__()
        norm: Any = partial(nn.LayerNorm, eps=1e-6)
        self.groups = [[bands.index(band) for band in group] for group in groups]
        self.patch_embed = nn.ModuleList(
            PatchEmbed(image_size, patch_size, len(group), embed_dim) for group in self.groups
        )
        places = (image_size // patch_size) ** 2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, places + 1, embed_dim - channel_embed))
        self.channel_embed = nn.Parameter(torch.zeros(1, len(self.groups), channel_embed))
        self.channel_cls_embed = nn.Parameter(torch.zeros(1, 1, channel_embed))
        self.blocks = nn.Sequential(
            *(Block(embed_dim, num_heads, mlp_ratio=4, qkv_bias=True, norm_layer=norm) for _ in range(depth))
        )
        self.norm = norm(embed_dim)

    def forward(self, values: Tensor) -> Tensor:
        """(n, band, size, size) -> (n, embed_dim)."""
        embedded = [embed(values[:, group]) for embed, group in zip(self.patch_embed, self.groups, strict=True)]
        place = self.pos_embed[:, 1:].unsqueeze(1).expand(-1, len(self.groups), -1, -1)
        group = self.channel_embed.unsqueeze(2).expand(-1, -1, place.shape[2], -1)
        tokens = (torch.stack(embedded, dim=1) + torch.cat([place, group], dim=-1)).flatten(1, 2)
        first = self.cls_token + torch.cat([self.pos_embed[:, :1], self.channel_cls_embed], dim=-1)
        tokens = torch.cat([first.expand(len(tokens), -1, -1), tokens], dim=1)
        embedding: Tensor = self.norm(self.blocks(tokens))[:, 1:].mean(dim=1)
        return embedding


def new_satmae(bands: Sequence[str], image_size: int, options: Mapping[str, Any]) -> GroupChannelViT:
    """The network with random weights; a `UserError` if `options` are not its keyword arguments."""
    try:
        return GroupChannelViT(bands, image_size=image_size, **options)
    except (TypeError, ValueError) as error:
        raise UserError(f"SatMAE's network cannot be made from options {dict(options)}: {error}") from error


def load_satmae(model: GroupChannelViT, path: Path) -> str:
    """Load a published checkpoint.

    Pretraining checkpoints have no `channel_cls_embed`: their class token has no group, which is the same as zeros.

    Returns:
        What was loaded and what was not used, in a sentence without its full stop.

    Raises:
        UserError: the file cannot be read, or tensors are missing, unknown, of another shape or without finite numbers;
            the message names them.
    """
    expected = model.state_dict()
    chosen = choose(read_checkpoint(path), expected, path)
    state = {name: value for name, value in chosen.tensors.items() if not name.startswith(UNUSED)}
    state.setdefault("channel_cls_embed", torch.zeros_like(expected["channel_cls_embed"]))
    for part in ("weight", "bias"):  # the last norm's name after the authors' fine-tuning with global pooling
        if f"fc_norm.{part}" in state:
            state[f"norm.{part}"] = state.pop(f"fc_norm.{part}")
    must_fit(state, expected, path, "SatMAE's network", "Check `options` and input.size.")
    must_hold_numbers(state, expected, path)
    model.load_state_dict(state)
    unused = sum(name.startswith(UNUSED) for name in chosen.tensors)
    remark = f"; {chosen.remark}" if chosen.remark else ""
    return f"{path.name}: {len(expected)} tensors loaded; {unused} of the decoder or a classifier not used{remark}"
