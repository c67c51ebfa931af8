"""Small networks with attention and normalisation, written in torch as people write them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, HEADS, TOKENS = 16, 2, 6
SEQUENCE = (TOKENS, 8)


class Encoder(nn.Module):
    """Torch's own encoder layers between two linear ones, on samples of ``SEQUENCE``."""

    def __init__(self, norm_first: bool, batch_first: bool, activation: str, n_layers: int = 1):
        super().__init__()
        self.batch_first = batch_first
        self.embed = nn.Linear(SEQUENCE[1], WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 32, 0.1, activation, batch_first=batch_first,
                                           norm_first=norm_first)  # fmt: skip
        self.encoder = nn.TransformerEncoder(layer, n_layers, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = self.encoder(x) if self.batch_first else self.encoder(x.transpose(0, 1)).transpose(0, 1)
        return self.head(x.mean(dim=1))


class SelfAttention(nn.Module):
    """nn.MultiheadAttention alone, with or without a causal mask."""

    def __init__(self, batch_first: bool, masked: bool = False):
        super().__init__()
        self.batch_first = batch_first
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first)
        mask = nn.Transformer.generate_square_subsequent_mask(TOKENS) if masked else None
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.batch_first else x.transpose(0, 1)
        y, _ = self.attention(x, x, x, need_weights=False, attn_mask=self.mask)
        return y if self.batch_first else y.transpose(0, 1)


class Scaled(nn.Module):
    """F.scaled_dot_product_attention behind three projections: plain, masked or causal."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.register_buffer("mask", torch.rand(TOKENS, TOKENS) + torch.eye(TOKENS) > 0.4)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = (f(x).reshape(b, n, HEADS, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        mask = self.mask if self.kind == "masked" else None
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.kind == "causal")
        return y.transpose(1, 2).reshape(b, n, WIDTH)


class FusedAttention(nn.Module):
    """Attention as timm writes it: one projection, cut by reshape, permute and unbind (or index)."""

    def __init__(self, fused: bool = False, by_index: bool = False):
        super().__init__()
        self.fused, self.by_index, self.scale = fused, by_index, (WIDTH // HEADS) ** -0.5
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        q, k, v = (qkv[0], qkv[1], qkv[2]) if self.by_index else qkv.unbind(0)
        if self.fused:
            x = F.scaled_dot_product_attention(q, k, v)
        else:
            x = ((q * self.scale) @ k.transpose(-2, -1)).softmax(dim=-1) @ v
        return self.proj(x.transpose(1, 2).reshape(b, n, c))


class VisionBlock(nn.Module):
    """A pre-norm block."""

    def __init__(self, fused: bool, by_index: bool):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = FusedAttention(fused, by_index)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 32), nn.GELU(), nn.Linear(32, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Patches by a convolution, a class token, positions, blocks, the class token's head."""

    def __init__(self, fused: bool = False, by_index: bool = False, depth: int = 1):
        super().__init__()
        self.patch = nn.Conv2d(3, WIDTH, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.position = nn.Parameter(torch.randn(1, 10, WIDTH) * 0.2)
        self.blocks = nn.Sequential(*(VisionBlock(fused, by_index) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), dim=1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class WindowAttention(nn.Module):
    """Swin's attention within windows, shifted by ``shift``, with a relative position bias and a mask."""

    def __init__(self, size: int, window: int, shift: int):
        super().__init__()
        self.size, self.window, self.shift = size, window, shift
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.table = nn.Parameter(torch.randn((2 * window - 1) ** 2, HEADS))
        where = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        apart = (where[:, :, None] - where[:, None, :]).permute(1, 2, 0) + window - 1
        self.register_buffer("index", apart[..., 0] * (2 * window - 1) + apart[..., 1])
        self.register_buffer("mask", self._mask() if shift else None)

    def _mask(self) -> Tensor:
        image = torch.zeros(1, self.size, self.size, 1)
        cuts = (slice(0, -self.window), slice(-self.window, -self.shift), slice(-self.shift, None))
        for i, rows in enumerate(cuts):
            for j, columns in enumerate(cuts):
                image[:, rows, columns] = 3 * i + j
        parts = partition(image, self.window).reshape(-1, self.window**2)
        return (parts[:, None] - parts[:, :, None]).ne(0).float() * -100.0

    def forward(self, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        x = self._attend(partition(x, self.window).view(-1, self.window**2, c))
        x = x.view(-1, self.window, self.window, c).view(b, h // self.window, w // self.window, self.window,
                                                         self.window, -1)  # fmt: skip
        x = x.permute(0, 1, 3, 2, 4, 5).contiguous().view(b, h, w, -1)
        return torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x

    def _attend(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q * (c // HEADS) ** -0.5) @ k.transpose(-2, -1)
        bias = self.table[self.index.view(-1)].view(n, n, -1).permute(2, 0, 1).contiguous()
        scores = scores + bias.unsqueeze(0)
        if self.mask is not None:
            windows = self.mask.shape[0]
            scores = scores.view(b // windows, windows, HEADS, n, n) + self.mask.unsqueeze(1).unsqueeze(0)
            scores = scores.view(-1, HEADS, n, n)
        return self.proj((scores.softmax(dim=-1) @ v).transpose(1, 2).reshape(b, n, c))


def partition(x: Tensor, window: int) -> Tensor:
    """The windows of maps ``(b, h, w, c)``, merged with the batch."""
    b, h, w, c = x.shape
    x = x.view(b, h // window, window, w // window, window, c)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, window, window, c)


class Swin(nn.Module):
    """A window block, a shifted one, patch merging and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.embed_norm = nn.Conv2d(3, WIDTH, 2, 2), nn.LayerNorm(WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.windows = nn.ModuleList(WindowAttention(8, 4, shift) for shift in (0, 2))
        self.merge_norm, self.merge = nn.LayerNorm(4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH, bias=False)
        self.head = nn.Linear(WIDTH, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed_norm(self.patch(x).permute(0, 2, 3, 1))
        for norm, attention in zip(self.norms, self.windows, strict=True):
            x = x + attention(norm(x))
        x = torch.cat((x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]), -1)
        x = self.merge(self.merge_norm(x.flatten(1, 2)))
        return self.head(x.mean(dim=1))


class RootMeanSquare(nn.Module):
    """RMSNorm written out."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(1 + 0.1 * torch.randn(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class Decoder(nn.Module):
    """A causal block with RMSNorm, rotary positions, grouped heads and SwiGLU."""

    def __init__(self) -> None:
        super().__init__()
        head = WIDTH // HEADS
        self.embed = nn.Linear(SEQUENCE[1], WIDTH)
        self.q, self.kv = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, 2 * head, bias=False)
        self.o = nn.Linear(WIDTH, WIDTH, bias=False)
        self.gate, self.up, self.down = nn.Linear(WIDTH, 24), nn.Linear(WIDTH, 24), nn.Linear(24, WIDTH)
        self.norms = nn.ModuleList(RootMeanSquare() for _ in range(3))
        angles = torch.outer(torch.arange(TOKENS).float(), 10000 ** (-torch.arange(0, head, 2) / head))
        self.register_buffer("cos", torch.cat((angles, angles), -1).cos()[None, None])
        self.register_buffer("sin", torch.cat((angles, angles), -1).sin()[None, None])

    def _turn(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=-1)
        return x * self.cos + torch.cat((-right, left), dim=-1) * self.sin

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        b, n, c = x.shape
        y = self.norms[0](x)
        q = self._turn(self.q(y).view(b, n, HEADS, -1).transpose(1, 2))
        k, v = (t.view(b, n, 1, -1).transpose(1, 2) for t in self.kv(y).chunk(2, dim=-1))
        k = self._turn(k)
        k, v = (t.expand(b, HEADS, n, c // HEADS) for t in (k, v))
        scores = q @ k.transpose(2, 3) / math.sqrt(c // HEADS)
        scores = scores + torch.full((n, n), torch.finfo(torch.float32).min).triu(1)
        y = torch.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype) @ v
        x = x + self.o(y.transpose(1, 2).contiguous().view(b, n, c))
        y = self.norms[1](x)
        x = x + self.down(F.silu(self.gate(y)) * self.up(y))
        return self.norms[2](x)


class Normed(nn.Module):
    """A convolutional network with GroupNorm or InstanceNorm."""

    def __init__(self, norm: Callable[[], nn.Module]):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), norm(), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), norm(),
                                  nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Mixer(nn.Module):
    """Mixing over tokens by transposes, then over channels; GELU by tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(SEQUENCE[1]) for _ in range(2))
        self.tokens = nn.Sequential(nn.Linear(TOKENS, 12), nn.GELU("tanh"), nn.Linear(12, TOKENS))
        self.channels = nn.Sequential(nn.Linear(8, 16), nn.GELU("tanh"), nn.Linear(16, 8))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        x = x + self.channels(self.norms[1](x))
        return self.head(x.mean(dim=1))


class ConvMixer(nn.Module):
    """Depthwise and pointwise convolutions with GELU and BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.GELU(), nn.BatchNorm2d(8))
        self.depth = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8, padding="same"), nn.GELU(), nn.BatchNorm2d(8))
        self.point = nn.Sequential(nn.Conv2d(8, 8, 1), nn.GELU(), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.point(x + self.depth(x))
        return self.head(x.mean((2, 3)))


class Keywords(nn.Module):
    """A keyword-spotting transformer: every frame of a spectrogram is a token; post-norm, class token."""

    def __init__(self, mels: int = 40, frames: int = 98, width: int = 64, heads: int = 1, depth: int = 12):
        super().__init__()
        self.patch = nn.Linear(mels, width)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, frames + 1, width))
        self.layers = nn.ModuleList(
            nn.ModuleList((nn.MultiheadAttention(width, heads, batch_first=True), nn.LayerNorm(width),
                           nn.Linear(width, 2 * width), nn.Linear(2 * width, width), nn.LayerNorm(width)))
            for _ in range(depth)
        )  # fmt: skip
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x.squeeze(1).transpose(1, 2))
        x = torch.cat((self.token.repeat(x.shape[0], 1, 1), x), dim=1) + self.position
        for attention, norm1, up, down, norm2 in self.layers:
            x = norm1(attention(x, x, x)[0] + x)
            x = norm2(down(F.gelu(up(x))) + x)
        return self.head(x[:, 0])


class SequenceNorm(nn.Module):
    """Linear layers with BatchNorm over the channels of a sequence, and a gate of two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.norm, self.down = nn.Linear(8, WIDTH), nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.up(x).transpose(1, 2)).transpose(1, 2)
        return self.down(torch.relu(x))


class Products(nn.Module):
    """Attention written with einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Parameter(torch.randn(HEADS, WIDTH // HEADS, WIDTH) * 0.2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.reshape(*x.shape[:2], HEADS, -1) for t in self.qkv(x).chunk(3, dim=-1))
        weights = (torch.einsum("bqhd,bkhd->bhqk", q, k) * 0.35).softmax(-1)
        return torch.einsum("bqhd,hdo->bqo", torch.einsum("bhqk,bkhd->bqhd", weights, v), self.out)


IMAGE, TOKENS_IN = (3, 12, 12), (TOKENS, WIDTH)

# name -> (how to make it, the shape of one sample)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    **{
        f"encoder_{'pre' if pre else 'post'}_{'bf' if first else 'tf'}_{act}": (
            lambda pre=pre, first=first, act=act: Encoder(pre, first, act), SEQUENCE)
        for pre in (True, False) for first in (True, False) for act in ("relu", "gelu")
    },
    "mha_bf": (lambda: SelfAttention(True), TOKENS_IN),
    "mha_tf": (lambda: SelfAttention(False), TOKENS_IN),
    "mha_masked": (lambda: SelfAttention(True, True), TOKENS_IN),
    "sdpa_plain": (lambda: Scaled("plain"), TOKENS_IN),
    "sdpa_masked": (lambda: Scaled("masked"), TOKENS_IN),
    "sdpa_causal": (lambda: Scaled("causal"), TOKENS_IN),
    "vit": (lambda: VisionTransformer(), IMAGE),
    "vit_fused": (lambda: VisionTransformer(fused=True), IMAGE),
    "vit_index": (lambda: VisionTransformer(by_index=True), IMAGE),
    "swin": (Swin, (3, 16, 16)),
    "decoder": (Decoder, SEQUENCE),
    "groupnorm": (lambda: Normed(lambda: nn.GroupNorm(4, 8)), IMAGE),
    "instancenorm": (lambda: Normed(lambda: nn.InstanceNorm2d(8, affine=True)), IMAGE),
    "mixer": (Mixer, SEQUENCE),
    "convmixer": (ConvMixer, IMAGE),
    "kwt": (Keywords, (1, 40, 98)),
    "kwt_small": (lambda: Keywords(10, 12, 16, 2, 2), (1, 10, 12)),
    "seqnorm": (SequenceNorm, SEQUENCE),
    "einsum": (Products, TOKENS_IN),
}  # fmt: skip
