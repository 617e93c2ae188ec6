"""A small causal transformer with a key-value cache; rollouts of one prompt share the keys and values of the prompt.

Its size lets a CPU core generate thousands of short answers a second. What the tokens mean is left to `generators`.

    >>> model = Transformer([(0, 0), (1, 0)])
    >>> model.logits(model(torch.tensor([[0, 1, 0]]))).shape
    torch.Size([1, 3, 2])
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Cache = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, [rows, heads, tokens, width of a head] each."""
_MOST_IDLE = 0.3


class Transformer(nn.Module):
    """A transformer whose token embedding is the sum of the embeddings of the token's value and of its role.

    Args:
        parts: Value and role of each token, [vocabulary, 2].
        width: Number of features.
        layers: Number of layers.
        heads: Number of attention heads.
    """

    values: Tensor
    roles: Tensor

    def __init__(self, parts: Sequence[tuple[int, int]], width: int = 64, layers: int = 3, heads: int = 4) -> None:
        super().__init__()
        values, roles = torch.tensor(parts).T
        self.register_buffer("values", values, persistent=False)
        self.register_buffer("roles", roles, persistent=False)
        self.embed_value = nn.Parameter(torch.randn(int(values.max()) + 1, width) * 0.1)
        self.embed_role = nn.Parameter(torch.randn(int(roles.max()) + 1, width) * 0.1)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = nn.RMSNorm(width)

    @property
    def table(self) -> Tensor:
        """Embedding of each token, [vocabulary, width]."""
        return self.embed_value[self.values] + self.embed_role[self.roles]

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of the next token, [..., vocabulary], from hidden states, [..., width]."""
        return F.linear(self.norm(hidden), self.table)

    def forward(self, ids: Tensor, past: Cache | None = None, keep: Cache | None = None) -> Tensor:
        """Hidden states of the ids, [rows, tokens, width].

        Args:
            ids: Token ids, [rows, tokens].
            past: Keys and values of the tokens before them.
            keep: List that the keys and values up to the last token are added to.
        """
        hidden = F.embedding(ids, self.table)
        start = 0 if past is None else past[0][0].shape[2]
        tokens = ids.shape[1]
        mask = None if past is None else torch.ones(tokens, start + tokens, dtype=torch.bool).tril(start)
        for layer, block in enumerate(self.blocks):

            def attend(query: Tensor, key: Tensor, value: Tensor, layer: int = layer) -> Tensor:
                if past is not None:
                    key, value = torch.cat([past[layer][0], key], 2), torch.cat([past[layer][1], value], 2)
                if keep is not None:
                    keep.append((key, value))
                return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)

            hidden = block(hidden, start, attend)
        return hidden


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_feed = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, hidden: Tensor, start: int, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        rows, tokens, width = hidden.shape
        qkv = self.qkv(self.norm_attention(hidden)).view(rows, tokens, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = attend(_rotated(query, start), _rotated(key, start), value)
        hidden = hidden + self.out(attended.transpose(1, 2).reshape(rows, tokens, width))
        return hidden + self.down(F.gelu(self.up(self.norm_feed(hidden))))


def _rotated(features: Tensor, start: int) -> Tensor:
    """Features [..., tokens, width of a head], rotated for the positions from `start` on."""
    half = features.shape[-1] // 2
    frequencies = 10000.0 ** (-torch.arange(half) / half)
    angle = torch.arange(start, start + features.shape[-2])[:, None] * frequencies
    cos, sin = angle.cos(), angle.sin()
    first, second = features[..., :half], features[..., half:]
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


@torch.no_grad()
def decode(
    model: Transformer,
    past: Cache,
    first: Tensor,
    *,
    max_tokens: int,
    end: int,
    temperature: float,
    generator: torch.Generator | None,
) -> Tensor:
    """Generated ids of each row, up to one token after `end`, then -1; [rows, max_tokens].

    Args:
        model: Model that generates.
        past: Keys and values of the prompts, of `rows` rows.
        first: Id that follows each prompt, [rows]; it is not part of the result.
        max_tokens: Largest number of generated tokens.
        end: Id that ends the thinking; the answer is the token after it.
        temperature: Sampling temperature; 0 takes the likeliest token.
        generator: Source of all draws.
    """
    table, start = model.table, past[0][0].shape[2]
    cache = [(_with_room(key, max_tokens), _with_room(value, max_tokens)) for key, value in past]
    out = torch.full((len(first), max_tokens), -1)
    rows, token = torch.arange(len(first)), first.clone()
    closing, active = torch.zeros(len(first), dtype=torch.bool), torch.ones(len(first), dtype=torch.bool)
    for step in range(max_tokens):
        hidden = _one_token(model, table[token], cache, start + step)
        logits = F.linear(model.norm(hidden), table)
        if temperature == 0:
            token = logits.argmax(-1)
        else:
            token = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)[:, 0]
        out[rows[active], step] = token[active]
        active &= ~closing
        closing = token == end
        left = int(active.sum())
        if left == 0:
            break
        # In bulk, because copying the cache costs more than a few idle rows.
        if left < (1 - _MOST_IDLE) * len(active):
            kept = active.nonzero()[:, 0]
            rows, token, closing, active = rows[kept], token[kept], closing[kept], active[kept]
            cache = [(key[kept], value[kept]) for key, value in cache]
    return out


def _with_room(cached: Tensor, tokens: int) -> Tensor:
    """A copy of keys or values with room for `tokens` more."""
    rows, heads, start, width = cached.shape
    found = torch.empty(rows, heads, start + tokens, width)
    found[:, :, :start] = cached
    return found


def _one_token(model: Transformer, embedded: Tensor, cache: Cache, place: int) -> Tensor:
    """Hidden state of one more token a row, [rows, width]; its keys and values are written to the cache."""
    hidden = embedded[:, None]
    for (keys, values), block in zip(cache, model.blocks, strict=True):

        def attend(query: Tensor, key: Tensor, value: Tensor, keys: Tensor = keys, values: Tensor = values) -> Tensor:
            keys[:, :, place], values[:, :, place] = key[:, :, 0], value[:, :, 0]
            return F.scaled_dot_product_attention(query, keys[:, :, : place + 1], values[:, :, : place + 1])

        hidden = block(hidden, place, attend)
    return hidden[:, 0]
