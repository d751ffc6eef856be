"""Train networks of the mini zoo: `python -m agentark.zoo.train params/zoo.yaml [NAME …] [--minutes M]`.

A network learns to solve first and to debate afterwards (docs/log.md: debating from the start harms both).  There is a
checkpoint every few minutes; a second call continues from the last one, and does nothing if all networks are finished.
It needs no data except the streams of the tasks.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import time
from functools import cache
from pathlib import Path

import torch
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoConfig,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from agentark import engines, params, store
from agentark.mas import prompts
from agentark.models.load import auto_class
from agentark.models.names import ZOO
from agentark.params import yaml_file
from agentark.store.files import replace
from agentark.tasks import mini

from . import corpus, pictures
from .optimizer import MuonAdamW
from .packing import Steps, make_tokenizer


class _StopAt(TrainerCallback):
    """Stops, with a checkpoint, at a step or at a time of `time.monotonic()`."""

    def __init__(self, step: int, end: float):
        self.step, self.end = step, end

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step or time.monotonic() > self.end:
            control.should_save = control.should_training_stop = True


def float32_sdpa(module, query, key, value, attention_mask, **kwargs):
    """Scaled dot-product attention in float32: on a CPU its backward pass is faster than that of bfloat16."""
    with torch.autocast("cpu", enabled=False):
        states = (state.float() for state in (query, key, value))
        out, weights = sdpa_attention_forward(module, *states, attention_mask, **kwargs)
    return out.to(query.dtype), weights


AttentionInterface.register("float32_sdpa", float32_sdpa)
AttentionMaskInterface.register("float32_sdpa", sdpa_mask)


class _Trainer(Trainer):
    """Resumes through `from_pretrained`: the weights of Qwen2.5-VL have other names in its files than in the module."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The mean cross-entropy of the learnt tokens; logits are computed for these only."""
        labels = inputs.pop("labels")[:, 1:]
        learnt = labels != -100
        hidden = model.model(**inputs).last_hidden_state[:, :-1][learnt]
        return torch.nn.functional.cross_entropy(model.lm_head(hidden).float(), labels[learnt])

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        loaded = type(self.model).from_pretrained(resume_from_checkpoint, dtype=torch.float32)
        self.model.load_state_dict(loaded.state_dict())


def make_model(spec: dict, tokenizer, context: int):
    """The untrained network of a spec, of the same class as its namesake."""
    options = copy.deepcopy(spec["config"])
    text = options.get("text_config", options)
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    text.update(vocab_size=len(tokenizer), max_position_embeddings=context, tie_word_embeddings=True, **ids)
    options.update(tie_word_embeddings=True, **ids)
    if "vision_config" in options:
        options.update(pictures.token_ids(tokenizer))
    config = AutoConfig.for_model(spec["architecture"], **options)
    return auto_class(config).from_config(config, dtype=torch.float32, attn_implementation="float32_sdpa")


def sample_pool(checkpoint: str, config: dict, seed: int, lengths: tuple[int, int], journal: store.Journal,
                known_drugs: float = 1.0) -> corpus.Pool:  # fmt: skip
    """A network's own solutions of new training problems, for the peers of its debates; journaled by chunks.

    `config` has the number of problems, the samples per problem, temperature and max_new_tokens.
    """
    size = 64
    first = seed * config["problems"]  # another seed has other problems
    problems = [(corpus.DEBATED[n % len(corpus.DEBATED)], n) for n in range(first, first + config["problems"])]
    engine_config = params.Engine(name="transformers", batch=128, dtype="float32", share_prefix=False)
    engine = cache(lambda: engines.make(checkpoint, engine_config))
    sampling = engines.Sampling(config["temperature"], config["max_new_tokens"])
    for start in range(0, len(problems), size):
        if str(start) not in journal.chunks:
            chunk = problems[start : start + size]
            questions = [corpus.pooled(task, n, lengths, known_drugs).problem.question for task, n in chunk]
            chats = [prompts.user_turn(question) for question in questions for _ in range(config["samples"])]
            completions = iter(engine().generate(chats, sampling, store.chunk_seed(seed, start)))
            answers = [[next(completions).text for _ in range(config["samples"])] for _ in chunk]
            rows = [{"task": task, "seed": n, "texts": texts} for (task, n), texts in zip(chunk, answers, strict=True)]
            journal.add(str(start), rows)
    sampled = [row for start in range(0, len(problems), size) for row in journal.chunks[str(start)]]
    return [(row["task"], row["seed"], row["texts"]) for row in sampled]


def train(name: str, spec: dict, common: dict, work: Path, minutes: float = 1e9, zoo: Path | None = None) -> bool:
    """Train a network, with checkpoints under `work`, and save it to `zoo` in half precision; False if time ran out.

    A network that `zoo` already has is kept, unless its weights are missing or another version of the tasks made it.
    A spec with `then` (phases, learning_rate, rest_rate and seed) is trained twice: the second training starts from the
    network of the first, which stays under `work`.
    """
    zoo = zoo or ZOO
    out, deadline = zoo / name, time.monotonic() + 60 * minutes
    if _is_made(out):
        print(f"{name}: already made")
        return True
    tokenizer = PreTrainedTokenizerFast.from_pretrained(zoo / "tokenizer")
    work, start = work / name, None
    if "then" in spec:
        tokenizer.save_pretrained(work / "net" / "tokenizer")
        alone = {key: value for key, value in spec.items() if key != "then"}
        if not train(name, alone, common, work / "first", minutes, work / "net"):
            return False
        start = work / "net" / name
        spec, common = _second(spec, common, start)
    about = _about(spec, common)
    store.Journal(work / "about.journal", about)  # refuses checkpoints of another training
    steps = _steps(spec["phases"])
    # The debate's peers are sampled from the network once it has learnt to solve, after `solving` steps.
    debate = next((n for n, phase in enumerate(spec["phases"]) if phase["shares"].get("debate")), None)
    solving = steps if debate is None else _steps(spec["phases"][:debate])
    reached, trainer = _reached(work), None
    if reached < solving:
        reached, trainer = _run(spec, common, work, tokenizer, solving, deadline, start=start)
    if solving <= reached < steps:
        checkpoint = str(work / f"checkpoint-{solving}" if solving else start) if reached == solving else ""
        pool_config, lengths = spec.get("pool", common["pool"]), tuple(spec["phases"][debate]["lengths"])
        journal = store.Journal(work / "peers.journal", about)
        pool = sample_pool(checkpoint, pool_config, common["seed"], lengths, journal, spec.get("known_drugs", 1.0))
        reached, trainer = _run(spec, common, work, tokenizer, steps, deadline, pool, start)
    elif trainer is None:  # killed between the last step and the card
        reached, trainer = _run(spec, common, work, tokenizer, steps, deadline, start=start)
    if reached < steps:
        print(f"{name}: {reached} of {steps} steps; the next call continues")
        return False
    model = trainer.model
    model.config.use_cache = model.config.get_text_config().use_cache = True
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    pieces = [row for rows in store.Journal(work / "about.journal", about).chunks.values() for row in rows]
    card = _card(name, spec, common, out, trainer, pieces)
    if start is not None:
        card = _both(json.loads((start / "card.json").read_text()), card)
    replace(out / "card.json", (json.dumps(card, indent=1) + "\n").encode())
    print(f"{name}: made in {60 * card['hours']:.1f} min")
    return True


def _second(spec: dict, common: dict, start: Path) -> tuple[dict, dict]:
    """The spec and the common settings of a second training, which starts from the network in `start`."""
    then = spec["then"]
    weights = json.loads((start / "card.json").read_text())["sha256"]
    spec = {**{key: value for key, value in spec.items() if key != "then"}, "phases": then["phases"]}
    spec |= {"learning_rate": then["learning_rate"], "start": weights}
    return spec, {**common, "rest_rate": then["rest_rate"], "seed": then["seed"]}


def _both(first: dict, card: dict) -> dict:
    """The card of a second training, with the phases, losses and costs of the first."""
    sums = {key: first[key] + card[key] for key in ("phases", "steps", "tokens", "pieces", "loss")}
    return {**card, **sums, "hours": round(first["hours"] + card["hours"], 2), "first_steps": first["steps"]}


def _is_made(out: Path) -> bool:
    """Whether a folder has a network that was trained to the end on this version of the tasks."""
    card = json.loads((out / "card.json").read_text()) if (out / "card.json").exists() else {}
    return card.get("world") == mini.WORLD and all((out / file).exists() for file in card["sha256"])


def _card(name: str, spec: dict, common: dict, out: Path, trainer: Trainer, pieces: list[dict]) -> dict:
    """What is recorded of a finished training; `pieces` are the steps and seconds of each uninterrupted part."""
    model, steps = trainer.model, _steps(spec["phases"])
    # A piece that was killed has left no record; it is assumed to have run at the rate of the others.
    tokens = common["tokens"] * sum(piece["steps"] for piece in pieces)
    rate = tokens / max(sum(piece["seconds"] for piece in pieces), 1e-9) or 1e-9
    files = sorted(out.glob("*.safetensors"))
    return {
        "name": name, "role": spec["role"], "architecture": type(model).__name__, "parameters": model.num_parameters(),
        "sha256": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
        "world": mini.WORLD, "known_drugs": spec.get("known_drugs", 1.0), "phases": spec["phases"],
        "steps": steps, "tokens": steps * common["tokens"], "seed": common["seed"],
        "learning_rate": spec["learning_rate"], "hours": round(steps * common["tokens"] / rate / 3600, 2),
        "pieces": len(pieces), "tokens_per_second": round(rate), "threads": torch.get_num_threads(),
        "matmul_share": round(6 * model.num_parameters() * rate / matmul_rate(), 3),
        "chats_too_long_in_last_piece": trainer.train_dataset.too_long,
        "machine": store.machine(), "torch": torch.__version__,
        "loss": [round(entry["loss"], 4) for entry in trainer.state.log_history if "loss" in entry],
    }  # fmt: skip


def _about(spec: dict, common: dict) -> dict:
    """What checkpoints belong to: a training of this recipe on this version of the tasks."""
    return {"spec": spec, "common": common, "world": mini.WORLD}


def _steps(phases: list[dict]) -> int:
    return sum(phase["steps"] for phase in phases)


def _reached(work: Path) -> int:
    """The step of the last complete checkpoint."""
    last = store.last_checkpoint(work)
    return json.loads((Path(last) / "trainer_state.json").read_text())["global_step"] if last else 0


def _run(spec: dict, common: dict, work: Path, tokenizer, last_step: int, deadline: float,
         pool: corpus.Pool | None = None, start: Path | None = None) -> tuple[int, Trainer]:  # fmt: skip
    """Train from the last checkpoint to `last_step` or the deadline.  Returns (the step reached, the trainer).

    Without a checkpoint, training begins with the network in `start`, or with random weights.
    """
    steps = _steps(spec["phases"])
    torch.manual_seed(common["seed"])
    model = make_model(spec, tokenizer, common["context"])
    if start is not None:
        model.load_state_dict(type(model).from_pretrained(start, dtype=torch.float32).state_dict())
    # The Trainer does this for the outer config only; with a cache, Qwen2.5-VL would not separate the chats of a block.
    model.config.get_text_config().use_cache = False
    vision = pictures.Vision(model.config.vision_config, tokenizer) if "vision_config" in spec["config"] else None
    if vision:  # on a CPU, its convolution and small attentions are far slower in bfloat16
        model.model.visual.forward = torch.autocast("cpu", enabled=False)(model.model.visual.forward)
    args = TrainingArguments(
        output_dir=str(work), seed=common["seed"], bf16=common["bf16"], use_cpu=not torch.cuda.is_available(),
        max_steps=steps, per_device_train_batch_size=1, learning_rate=spec["learning_rate"], max_grad_norm=1.0,
        lr_scheduler_type="warmup_stable_decay", lr_scheduler_kwargs={"num_decay_steps": steps * 3 // 10},
        warmup_steps=min(50, steps // 4), logging_steps=50, save_steps=250, save_total_limit=1,
        train_sampling_strategy="sequential", dataloader_pin_memory=False, report_to=[], disable_tqdm=True,
    )  # fmt: skip
    data = Steps(tokenizer, common, spec["phases"], pool, spec.get("known_drugs", 1.0), vision)
    optimizer = MuonAdamW(model, spec["learning_rate"], common["rest_rate"], common["weight_decay"])
    trainer = _Trainer(
        model=model, args=args, train_dataset=data,
        data_collator=lambda items: items[0],  # a step is a batch
        processing_class=tokenizer, optimizers=(optimizer, None), callbacks=[_StopAt(last_step, deadline)],
    )  # fmt: skip
    began, first_step = time.time(), _reached(work)
    trainer.train(resume_from_checkpoint=store.last_checkpoint(work))
    if trainer.state.global_step > first_step:
        log = store.Journal(work / "about.journal", _about(spec, common))
        piece = {"steps": trainer.state.global_step - first_step, "seconds": time.time() - began}
        log.add(f"from step {first_step}", [piece])
    return trainer.state.global_step, trainer


def matmul_rate() -> float:
    """This machine's floating-point operations per second in a large matrix product, in the type of the training."""
    a = torch.randn(1024, 1024, dtype=torch.bfloat16)
    a @ a
    start = time.perf_counter()
    for _ in range(20):
        a @ a
    return 20 * 2 * 1024**3 / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("params", type=Path)
    parser.add_argument("names", nargs="*", help="the networks to train; default all")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this time, with a checkpoint")
    parser.add_argument("--work", type=Path, default=Path("results/zoo"), help="the folder of checkpoints")
    parser.add_argument("--out", type=Path, default=ZOO, help="the folder of finished networks; default the package's")
    args = parser.parse_args()
    try:
        config = yaml_file.read(args.params)[0]
    except params.ParamsError as error:
        parser.error(str(error))
    common, zoo = config["common"], config["networks"]
    unknown = set(args.names) - set(zoo)
    if unknown:
        parser.error(f"no network {', '.join(sorted(unknown))} in {args.params}; there are {', '.join(zoo)}")
    if not (args.out / "tokenizer").exists():
        tokenizer = make_tokenizer(common["vocabulary"], common["tokenizer_chats"], common["seed"], common["context"])
        tokenizer.save_pretrained(args.out / "tokenizer")
    for name in args.names or zoo:
        train(name, zoo[name], common, args.work, args.minutes, args.out)


if __name__ == "__main__":
    main()
