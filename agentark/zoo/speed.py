"""How fast a network of the zoo generates and trains, against loops with nothing around them, in one run.

The variants take turns, so that a drift of the machine's speed affects all; seconds are those of the processor, because
other programs may run.  Figures of two machines cannot be compared, their ratios can.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from transformers import DynamicCache

from agentark import store, tasks
from agentark.engines import Sampling, tokens
from agentark.engines.transformers_engine import TransformersEngine
from agentark.mas import prompts
from agentark.models import load
from agentark.zoo.measuring import ALONE, ENGINE, Network, Section
from agentark.zoo.optimizer import MuonAdamW
from agentark.zoo.packing import Steps
from agentark.zoo.train import _Trainer, float32_sdpa

REPEATS, STEPS = 3, 2  # turns of each variant; training steps of a turn
PARTS = ("generation", "training")


def measure(network: Network, part: str, settings: dict) -> dict:
    """Tokens a second of ours and of the bare loop, their ratio with its range over the turns, threads and machine."""
    variants = generation(network) if part == "generation" else training(network, settings["common"])
    for variant in variants.values():  # the first call is slower
        variant()
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(REPEATS):
        for name, variant in variants.items():
            start = time.process_time()
            count = variant()
            rates[name].append(count / (time.process_time() - start))
    ratios = [ours / bare for ours, bare in zip(rates["ours"], rates["bare"], strict=True)]
    median = {name: round(statistics.median(values)) for name, values in rates.items()}
    ratio = {"value": statistics.median(ratios), "n": REPEATS, "low": min(ratios), "high": max(ratios)}
    ratio = {key: round(value, 3) for key, value in ratio.items()}
    about = {"threads": torch.get_num_threads(), "machine": store.machine()}
    return {"tokens_per_second": median, "ratio": ratio, **about}


def generation(network: Network) -> dict[str, Callable[[], int]]:
    """Greedy answers to dev problems of mini_gsm, by the engine and by a plain loop.

    Both return the number of tokens that they made.  The loop has as many rows in each of two batches as the engine
    decodes at a time, each with a prompt of the mean length and the mean number of tokens of the engine's replies,
    without padding.
    """
    model, tokenizer = load.load(str(network.folder))
    engine, rows = TransformersEngine.around(model, tokenizer, ENGINE), ENGINE.batch or 1
    problems = tasks.problems("mini_gsm", "dev", 2 * rows)
    chats = [prompts.user_turn(tasks.get("mini_gsm").prompt(p)) for p in problems]
    encoded = [tokens.encode(tokenizer, text) for text in tokens.prompt_texts(tokenizer, chats)]
    length = round(statistics.mean(map(len, encoded)))
    ids = torch.tensor([(row * (length // len(row) + 1))[:length] for row in encoded], device=model.device)

    def ours() -> int:
        return sum(c.tokens_out or 0 for c in engine.generate(chats, Sampling(0.0, ALONE), seed=0))

    new = round(ours() / len(ids))

    @torch.inference_mode()
    def bare() -> int:
        for part in ids.split(rows):
            cache = DynamicCache(config=model.config)
            model(part[:, :-1], past_key_values=cache, use_cache=True, logits_to_keep=1)
            token = part[:, -1:]
            for _ in range(new):
                token = model(token, past_key_values=cache, use_cache=True).logits.argmax(-1)
        return new * len(ids)

    return {"ours": ours, "bare": bare}


def training(network: Network, common: dict) -> dict[str, Callable[[], int]]:
    """A few steps of the zoo's training on the same batches: as `zoo.train` takes them, and as a plain loop would.

    Both return the number of tokens in their steps, learnt or not.  Both have the network's weights to start with and
    the training's precision; the plain loop has the loss of transformers over all positions, the usual attention and
    AdamW alone.
    """
    spec = network.card
    phase = next(phase for phase in reversed(spec["phases"]) if not phase["shares"].get("debate"))
    (network_ours, tokenizer), (network_bare, _) = (load.load(str(network.folder)) for _ in range(2))
    data = Steps(tokenizer, common, [{**phase, "steps": STEPS}], known_drugs=spec.get("known_drugs", 1.0))
    batches = [{key: value.to(network_ours.device) for key, value in data[i].items()} for i in range(STEPS)]
    count = sum(batch["input_ids"].numel() for batch in batches)

    def loop(model, optimizer, loss_of: Callable[[dict], torch.Tensor]) -> int:
        model.train()
        model.config.get_text_config().use_cache = False  # as in training; with a cache, blocks would not be separated
        for batch in batches:
            with torch.autocast(model.device.type, torch.bfloat16) if common["bf16"] else nullcontext():
                loss = loss_of(dict(batch))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return count

    network_ours.set_attn_implementation(float32_sdpa.__name__)
    trainer, rate = _Trainer.__new__(_Trainer), 1e-5  # only its loss is used
    muon = MuonAdamW(network_ours, rate, rate, common["weight_decay"])
    adam = torch.optim.AdamW(network_bare.parameters(), lr=rate, betas=(0.9, 0.98))
    return {
        "ours": lambda: loop(network_ours, muon, lambda batch: trainer.compute_loss(network_ours, batch)),
        "bare": lambda: loop(network_bare, adam, lambda batch: network_bare(**batch).loss),
    }


SECTION = Section(measure, lambda settings: PARTS, ("common",))
