"""The `transformers` engine: generation in this process on any device, with each shared prefix computed once.

Neighbouring chats whose prompts start alike (the agents of a problem) form a group.  `engine.batch` prompts are decoded
at a time; whenever some have ended, others take their place (`decoding`).
"""

from __future__ import annotations

from collections.abc import Sequence

from agentark import params, store
from agentark.models import load as models

from . import Chat, Completion, Sampling, images, refuse_pictures, tokens
from .attention import grouped_sdpa
from .batching import group_by_prefix, prefix_length
from .choosing import Chooser
from .decoding import Row, decode


class TransformersEngine:
    """Generates with a Hugging Face causal language model in this process."""

    name = "transformers"

    def __init__(self, model: str, config: params.Engine):
        network, tokenizer = models.load(model, config.dtype or "float32")
        self._use(network, tokenizer, config)

    @classmethod
    def around(cls, model, tokenizer, config: params.Engine) -> TransformersEngine:
        """An engine with a network that is already in memory, such as one in training."""
        engine = cls.__new__(cls)
        engine._use(model, tokenizer, config)
        return engine

    def _use(self, model, tokenizer, config: params.Engine) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.model.set_attn_implementation(grouped_sdpa.__name__)
        self.config = config
        self.context = self.model.config.get_text_config().max_position_embeddings
        self.ends = tokens.end_tokens(self.tokenizer, self.model.generation_config.eos_token_id)

    def generate(self, chats: Sequence[Chat], sampling: Sampling, seed: int) -> list[Completion]:
        """See `Engine.generate`.  A sample depends on the seed and the index of its chat, not on the other chats."""
        batch = self.config.batch or 1
        images.check(self.model, self.tokenizer, chats)
        if sampling.choices:
            refuse_pictures(chats, "and this engine scores choices for a text only: ask without engine.choices")
        texts = tokens.prompt_texts(self.tokenizer, chats)
        ids = {text: tokens.encode(self.tokenizer, text) for text in dict.fromkeys(texts)}  # many are the same
        # As far as the keys of two prompts are alike, so are their tokens and pictures.
        prompts, keys, sights = images.look(self.model, chats, [ids[text] for text in texts])
        tokens.check_lengths(self.tokenizer, prompts, sampling, self.context)
        if sampling.choices:
            return Chooser(self.model, self.tokenizer, self.ends, batch).choose(texts, prompts, sampling, seed)
        groups = [[index] for index in range(len(prompts))]
        if self.config.share_prefix:
            groups = group_by_prefix(keys, batch)
        groups.sort(key=lambda group: -max(len(prompts[index]) for index in group))  # similar lengths together
        rows: dict[int, Row] = {}
        for number, group in enumerate(groups):
            shared = prefix_length([keys[index] for index in group])
            for index in group:
                own_seed = store.chunk_seed(seed, index)
                rows[index] = Row(prompts[index], number, shared, own_seed, sights[index])
        decode(self.model, list(rows.values()), sampling, self.ends, batch)
        return [
            tokens.completion(self.tokenizer, self.ends, row.reply, len(row.prompt), row.cached, row.logprobs)
            for row in (rows[index] for index in range(len(prompts)))
        ]
