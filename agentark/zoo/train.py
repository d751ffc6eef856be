"""Make a network of the mini zoo: `python -m agentark.zoo.train params/zoo.yaml [NAME …] [--minutes M]`.

First solving, then debating on top of it (FACTS.md: debate from the start spoils both).  Checkpoints every few minutes; a
second call goes on where the last one stopped and does nothing where all is made.  Needs no data but the tasks' own streams.
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
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.utils.data import Dataset
from transformers import AutoConfig, PreTrainedTokenizerFast, Trainer, TrainerCallback, TrainingArguments

from agentark import engines, params, store
from agentark.mas import prompts
from agentark.models.load import ZOO, auto_class
from agentark.zoo import corpus

PAD, USER, ASSISTANT, END = "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tokenizer(vocab_size: int, chats: int, seed: int, context: int) -> PreTrainedTokenizerFast:
    """One byte-level BPE tokenizer for the whole zoo: single digits, and any text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    shares = {"fact": 0.2, "lore": 0.1, "debate": 0.2}
    texts = (turn["content"] for i in range(chats) for turn in corpus.example(seed, i, shares, (1, 5), 3).chat)
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[PAD, USER, ASSISTANT, END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        model_max_length=context,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = TEMPLATE
    return fast


class Steps(Dataset):
    """Training steps, each a batch of blocks of packed chats.  Step i is a function of (seed, i), and of the pool in debate phases.

    A chat goes into the first block of its step that has room for it; a step is full when three chats in a row find none.
    Chats that are longer than a block cannot be learnt: `too_long` counts them (since this object was made) and the card says so.
    Positions start anew with each chat, from which transformers builds a mask that keeps the chats of a block apart: without it
    a network learns to read its answer out of a neighbour.
    """

    def __init__(self, tokenizer, common: dict, phases: list[dict], pool: corpus.Pool | None = None):
        self.tokenizer, self.common, self.pool = tokenizer, common, pool
        self.phases = [phase for phase in phases for _ in range(phase["steps"])]
        self.too_long = 0

    def __len__(self):
        return len(self.phases)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        """input_ids, labels (-100: not learnt) and position_ids, each (blocks, length)."""
        phase, common = self.phases[i], self.common
        length = phase.get("block", common["block"])
        bins: list[list[tuple[int, int, int]]] = [[] for _ in range(common["tokens"] // length)]
        failed = n = 0
        while failed < 3:
            made = corpus.example(
                common["seed"], i * 10_000 + n, phase["shares"], phase["lengths"], common["max_peers"], self.pool
            )
            n += 1
            ids, labels = encode(made, self.tokenizer)
            room = next((b for b in bins if len(b) + len(ids) <= length), None)
            if room is None:
                self.too_long += len(ids) > length
                failed += 1
                continue
            room += zip(ids, labels, range(len(ids)))
        for block in bins:
            block += zip([self.tokenizer.pad_token_id] * length, [-100] * length, range(length))
        return {
            name: torch.tensor([[token[k] for token in block[:length]] for block in bins])
            for k, name in enumerate(("input_ids", "labels", "position_ids"))
        }


def encode(example: corpus.Example, tokenizer) -> tuple[list[int], list[int]]:
    """A chat's token ids, and its labels: the last turn and the texts of `also` are learnt."""
    text = tokenizer.apply_chat_template(example.chat, tokenize=False)
    last = len(text) - len(example.chat[-1]["content"] + END)
    spans, at = [], 0
    for learnt in example.also:
        at = text.index(f"\n{learnt}\n", at) + 1  # whole lines: a wrong trace may begin as a right one does
        spans.append((at, at := at + len(learnt)))
    spans.append((last, len(text)))
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    # A byte of a longer character has that character's offsets; no token has none.
    learnt = [any(a <= start < b for a, b in spans) for start, _ in encoded.offset_mapping]
    return encoded.input_ids, [token if yes else -100 for token, yes in zip(encoded.input_ids, learnt)]


class MuonAdamW(torch.optim.Optimizer):
    """Muon for the layers' matrices and AdamW for the rest, as one optimizer to the Trainer.

    Measured here: after 400 steps a loss of 0.73 where AdamW alone had 0.90, at 6 % more time a step.
    """

    def __init__(self, model, learning_rate: float, rest_rate: float, weight_decay: float):
        matrices = [
            p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name and "visual" not in name
        ]
        known = {id(p) for p in matrices}
        rest = [p for p in model.parameters() if id(p) not in known]
        self.parts = [
            torch.optim.Muon(matrices, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=rest_rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        super().__init__([p for p in model.parameters()], {})
        self._join()

    def _join(self):
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure=None):
        for part in self.parts:
            part.step()

    def state_dict(self):
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state):
        for part, saved in zip(self.parts, state["parts"]):
            part.load_state_dict(saved)
        self._join()


class _StopAt(TrainerCallback):
    """Stops, with a checkpoint, at a step or once the given time is over."""

    def __init__(self, step: int, end: float):
        self.step, self.end = step, end

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step or time.monotonic() > self.end:
            control.should_save = control.should_training_stop = True


class _Trainer(Trainer):
    """Resumes through `from_pretrained`: in its files Qwen2.5-VL's weights have other names than in the module."""

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        loaded = type(self.model).from_pretrained(resume_from_checkpoint, dtype=torch.float32)
        self.model.load_state_dict(loaded.state_dict())


def make_model(spec: dict, tokenizer, context: int):
    """The untrained network of a spec, in its namesake's class."""
    about = copy.deepcopy(spec["config"])
    text = about.get("text_config", about)
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    text.update(vocab_size=len(tokenizer), max_position_embeddings=context, tie_word_embeddings=True, **ids)
    about.update(tie_word_embeddings=True, **ids)
    config = AutoConfig.for_model(spec["architecture"], **about)
    return auto_class(config).from_config(config, dtype=torch.float32)


def sample_pool(
    checkpoint: str, told: dict, seed: int, lengths: tuple[int, int], journal: store.Journal
) -> corpus.Pool:
    """A network's own solutions of fresh training problems: what the peers of its debates look like.  Journaled by chunks."""
    size = 64
    problems = [(corpus.DEBATED[n % len(corpus.DEBATED)], n) for n in range(told["problems"])]
    engine = cache(
        lambda: engines.make(
            checkpoint, params.Engine(name="transformers", batch=128, dtype="float32", share_prefix=False)
        )
    )
    for at in range(0, len(problems), size):
        if str(at) not in journal.chunks:
            chunk = problems[at : at + size]
            chats = [
                prompts.ask(corpus.pooled(task, n, lengths).problem.question)
                for task, n in chunk
                for _ in range(told["samples"])
            ]
            made = iter(
                engine().generate(
                    chats, engines.Sampling(told["temperature"], told["max_new_tokens"]), store.chunk_seed(seed, at)
                )
            )
            journal.add(
                str(at),
                [
                    {"task": task, "seed": n, "texts": [next(made).text for _ in range(told["samples"])]}
                    for task, n in chunk
                ],
            )
    return [
        (row["task"], row["seed"], row["texts"])
        for at in range(0, len(problems), size)
        for row in journal.chunks[str(at)]
    ]


def train(name: str, spec: dict, common: dict, work: Path, minutes: float = 1e9, zoo: Path | None = None) -> bool:
    """Train network `name` and save it, half precision, into `zoo` (default the package's).  Returns whether it is finished."""
    zoo = zoo or ZOO
    out, end = zoo / name, time.monotonic() + 60 * minutes
    if (out / "card.json").exists():
        print(f"{name}: already made")
        return True
    about = {"spec": spec, "common": common}
    store.Journal(work / name / "about.journal", about)  # refuses checkpoints of another training
    tokenizer = PreTrainedTokenizerFast.from_pretrained(zoo / "tokenizer")
    steps = sum(phase["steps"] for phase in spec["phases"])
    # The debate's peers are sampled from the network as it is when it has learnt to solve.
    solve = next((n for n, phase in enumerate(spec["phases"]) if phase["shares"].get("debate")), None)
    alone = steps if solve is None else sum(phase["steps"] for phase in spec["phases"][:solve])
    reached, trainer = _reached(work / name), None
    if reached < alone:
        reached, trainer = _run(name, spec, common, work, tokenizer, steps, alone, end, None)
    if alone <= reached < steps:
        checkpoint = str(work / name / f"checkpoint-{alone}") if reached == alone else ""
        pool = sample_pool(
            checkpoint,
            spec.get("pool", common["pool"]),
            common["seed"],
            tuple(spec["phases"][solve]["lengths"]),
            store.Journal(work / name / "peers.journal", about),
        )
        reached, trainer = _run(name, spec, common, work, tokenizer, steps, steps, end, pool)
    elif trainer is None:  # killed between the last step and the card
        reached, trainer = _run(name, spec, common, work, tokenizer, steps, steps, end, None)
    if reached < steps:
        print(f"{name}: {reached} of {steps} steps; the next call goes on")
        return False
    model = trainer.model
    model.config.use_cache = model.config.get_text_config().use_cache = True
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    pieces = [row for rows in store.Journal(work / name / "about.journal", about).chunks.values() for row in rows]
    # A piece that was killed has left no record; its time is taken to be like the others'.
    rate = (
        common["tokens"]
        * sum(piece["steps"] for piece in pieces)
        / max(sum(piece["seconds"] for piece in pieces), 1e-9)
        or 1e-9
    )
    seconds = steps * common["tokens"] / rate
    (out / "card.json").write_text(
        json.dumps(
            {
                "name": name,
                "role": spec["role"],
                "architecture": type(model).__name__,
                "parameters": model.num_parameters(),
                "sha256": {
                    file.name: hashlib.sha256(file.read_bytes()).hexdigest()
                    for file in sorted(out.glob("*.safetensors"))
                },
                "phases": spec["phases"],
                "steps": steps,
                "tokens": steps * common["tokens"],
                "seed": common["seed"],
                "learning_rate": spec["learning_rate"],
                "hours": round(seconds / 3600, 2),
                "pieces": len(pieces),
                "tokens_per_second": round(rate),
                "threads": torch.get_num_threads(),
                "matmul_share": round(6 * model.num_parameters() * rate / matmul_rate(), 3),
                "chats_too_long_in_last_piece": trainer.train_dataset.too_long,
                "machine": store.machine(),
                "torch": torch.__version__,
                "loss": [round(entry["loss"], 4) for entry in trainer.state.log_history if "loss" in entry],
            },
            indent=1,
        )
        + "\n"
    )
    print(f"{name}: made in {seconds / 60:.1f} min")
    return True


def _reached(work: Path) -> int:
    """The step of the last whole checkpoint."""
    last = store.last_checkpoint(work)
    return json.loads((Path(last) / "trainer_state.json").read_text())["global_step"] if last else 0


def _run(
    name: str,
    spec: dict,
    common: dict,
    work: Path,
    tokenizer,
    steps: int,
    until: int,
    end: float,
    pool: corpus.Pool | None,
) -> tuple[int, Trainer]:
    """Train from the last checkpoint to step `until` or for as long as there is time.  Returns (the step reached, the trainer)."""
    torch.manual_seed(common["seed"])
    model = make_model(spec, tokenizer, common["context"])
    # The Trainer does so for the outer config only; with a cache, Qwen2.5-VL would make no mask that keeps chats apart.
    model.config.get_text_config().use_cache = False
    grids = (
        4 if hasattr(model.config, "vision_config") else 0
    )  # Qwen2.5-VL: text positions, then its three rotary grids
    args = TrainingArguments(
        output_dir=str(work / name),
        per_device_train_batch_size=1,
        max_steps=steps,
        learning_rate=spec["learning_rate"],
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": steps * 3 // 10},
        warmup_steps=min(50, steps // 4),
        max_grad_norm=1.0,
        logging_steps=50,
        save_steps=250,
        save_total_limit=1,
        train_sampling_strategy="sequential",
        report_to=[],
        disable_tqdm=True,
        bf16=common["bf16"],
        use_cpu=not torch.cuda.is_available(),
        seed=common["seed"],
        dataloader_pin_memory=False,
    )

    def collate(items: list[dict]) -> dict[str, torch.Tensor]:
        (step,) = items
        return {**step, "position_ids": step["position_ids"].expand(grids, -1, -1)} if grids else step

    trainer = _Trainer(
        model=model,
        args=args,
        train_dataset=Steps(tokenizer, common, spec["phases"], pool),
        data_collator=collate,
        processing_class=tokenizer,
        optimizers=(MuonAdamW(model, spec["learning_rate"], common["rest_rate"], common["weight_decay"]), None),
        callbacks=[_StopAt(until, end)],
    )
    start, had = time.time(), _reached(work / name)
    trainer.train(resume_from_checkpoint=store.last_checkpoint(work / name))
    if trainer.state.global_step > had:
        log = store.Journal(work / name / "about.journal", {"spec": spec, "common": common})
        log.add(f"from step {had}", [{"steps": trainer.state.global_step - had, "seconds": time.time() - start}])
    return trainer.state.global_step, trainer


def matmul_rate() -> float:
    """This machine's floating-point operations a second in a large matrix product, in the type that training multiplies in."""
    a = torch.randn(1024, 1024, dtype=torch.bfloat16)
    a @ a
    start = time.perf_counter()
    for _ in range(20):
        a @ a
    return 20 * 2 * 1024**3 / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("params", type=Path)
    parser.add_argument("names", nargs="*", help="the networks to make; default all")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop, with a checkpoint, after so long")
    parser.add_argument("--work", type=Path, default=Path("results/zoo"), help="where checkpoints go")
    parser.add_argument("--out", type=Path, default=ZOO, help="where finished networks go; default the package's zoo")
    args = parser.parse_args()
    told = yaml.safe_load(args.params.read_text())
    common, zoo = told["common"], told["networks"]
    unknown = set(args.names) - set(zoo)
    if unknown:
        parser.error(f"no network {', '.join(sorted(unknown))} in {args.params}; there are {', '.join(zoo)}")
    if not (args.out / "tokenizer").exists():
        made = make_tokenizer(common["vocabulary"], common["tokenizer_chats"], common["seed"], common["context"])
        made.save_pretrained(args.out / "tokenizer")
    for name in args.names or zoo:
        train(name, zoo[name], common, args.work, args.minutes, args.out)


if __name__ == "__main__":
    main()
