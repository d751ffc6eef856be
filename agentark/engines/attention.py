"""An attention function for decoding with grouped query heads, registered in transformers as `grouped_sdpa`."""

from __future__ import annotations

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask


def grouped_sdpa(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **kwargs):
    """Scaled dot-product attention that, when one token is decoded, does not copy keys and values per query head.

    query (B, H, 1, D), key and value (B, KV, L, D): the H / KV heads that share a key take the place of query
    positions.  Returns (B, 1, H, D).  For more query positions, transformers' own function is called.
    """
    b, h, t, d = query.shape
    if t > 1:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, dropout=dropout,
                                      **kwargs)  # fmt: skip
    query = query.view(b, key.shape[1], -1, d)
    if attention_mask is None or attention_mask.dtype != torch.float32 or query.dtype != torch.float32:
        out = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask,
                                                               scale=scaling)  # fmt: skip
    else:  # the decoding of this package; two products are faster than the fused function for so few queries
        query, key, value = (states.flatten(0, 1) for states in (query, key, value))
        bias = attention_mask.expand(b, len(query) // b, query.shape[1], -1).flatten(0, 1)
        out = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=scaling).softmax(-1) @ value
    return out.reshape(b, h, 1, d).transpose(1, 2), None


AttentionInterface.register("grouped_sdpa", grouped_sdpa)
AttentionMaskInterface.register("grouped_sdpa", sdpa_mask)
