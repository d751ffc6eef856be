"""Make a network of the mini zoo: `python -m agentark.zoo.train params/zoo.yaml [NAME …] [--minutes M]`.

First solving, then debating on top of it (FACTS.md: debate from the start spoils both).  Checkpoints every few minutes; a
second call goes on where the last one stopped and does nothing where all is made.  Needs no data but the tasks' own streams.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import torch
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.utils.data import Dataset
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast, Trainer, TrainerCallback, TrainingArguments

from agentark import store
from agentark.models.load import ZOO
from agentark.zoo import corpus

PAD, USER, ASSISTANT, END = "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tokenizer(vocab_size: int, chats: int, seed: int, context: int) -> PreTrainedTokenizerFast:
    """One byte-level BPE tokenizer for the whole zoo: single digits, and any text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    texts = (m["content"] for i in range(chats) for m in corpus.example(seed, i, {"fact": 0.3, "debate": 0.2}, (1, 5), 3))
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[PAD, USER, ASSISTANT, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, additional_special_tokens=[USER, ASSISTANT],
        model_max_length=context, padding_side="left", clean_up_tokenization_spaces=False)
    fast.chat_template = TEMPLATE
    return fast


class Blocks(Dataset):
    """Blocks of packed chats; only the last turn of each chat is learnt.  Block i is a function of (seed, i).

    Positions start anew with each chat, from which transformers builds a mask that keeps the chats of a block apart: without it
    a network learns to read its answer out of a neighbour.
    """

    def __init__(self, tokenizer, seed: int, length: int, phases: list[dict], batch: int, max_peers: int):
        self.tokenizer, self.seed, self.length, self.max_peers = tokenizer, seed, length, max_peers
        self.phases = [phase for phase in phases for _ in range(phase["steps"] * batch)]

    def __len__(self):
        return len(self.phases)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        phase = self.phases[i]
        ids: list[int] = []
        labels: list[int] = []
        positions: list[int] = []
        n = 0
        while len(ids) < self.length:
            chat = corpus.example(self.seed, i * 1000 + n, phase["shares"], phase["lengths"], self.max_peers)
            n += 1
            prompt = self.tokenizer.apply_chat_template(chat[:-1], add_generation_prompt=True, return_dict=False)
            reply = self.tokenizer(chat[-1]["content"] + END, add_special_tokens=False).input_ids
            ids += prompt + reply
            labels += [-100] * len(prompt) + reply
            positions += range(len(prompt) + len(reply))
        return {name: torch.tensor(values[: self.length]) for name, values in (("input_ids", ids), ("labels", labels), ("position_ids", positions))}


class _StopAt(TrainerCallback):
    """Stops, with a checkpoint, once the given time is over."""

    def __init__(self, minutes: float):
        self.end = time.monotonic() + 60 * minutes

    def on_step_end(self, args, state, control, **_):
        if time.monotonic() > self.end:
            control.should_save = control.should_training_stop = True


def train(name: str, spec: dict, common: dict, work: Path, minutes: float = 1e9) -> bool:
    """Train network `name` and save it, half precision, into the zoo.  Returns whether it is finished."""
    out = ZOO / name
    if (out / "card.json").exists():
        print(f"{name}: already made")
        return True
    torch.manual_seed(common["seed"])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(ZOO / "tokenizer")
    config = AutoConfig.for_model(
        spec["architecture"], vocab_size=len(tokenizer), max_position_embeddings=common["context"],
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
        tie_word_embeddings=True, **spec["config"])
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    batch = common["batch"]
    data = Blocks(tokenizer, common["seed"], common["block"], spec["phases"], batch, common["max_peers"])
    steps = len(data) // batch
    args = TrainingArguments(
        output_dir=str(work / name), per_device_train_batch_size=batch, max_steps=steps, learning_rate=spec["learning_rate"],
        lr_scheduler_type="warmup_stable_decay", lr_scheduler_kwargs={"num_decay_steps": steps // 4}, warmup_steps=50,
        weight_decay=common["weight_decay"], adam_beta2=0.98, max_grad_norm=1.0, logging_steps=50, save_steps=200, save_total_limit=1,
        train_sampling_strategy="sequential", report_to=[], disable_tqdm=True, bf16=common["bf16"], use_cpu=not torch.cuda.is_available(), seed=common["seed"], dataloader_pin_memory=False)
    trainer = Trainer(model=model, args=args, train_dataset=data, callbacks=[_StopAt(minutes)])
    start = time.time()
    store.Journal(work / name / "about.journal", {"spec": spec, "common": common})  # refuses checkpoints of another training
    had = store.last_checkpoint(work / name)
    trainer.train(resume_from_checkpoint=had)
    seconds = time.time() - start
    if trainer.state.global_step < steps:
        print(f"{name}: {trainer.state.global_step} of {steps} steps; the next call goes on")
        return False
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "card.json").write_text(json.dumps({
        "name": name, "role": spec["role"], "architecture": type(model).__name__, "parameters": model.num_parameters(),
        "phases": spec["phases"], "tokens": steps * batch * common["block"], "seed": common["seed"],
        "seconds_of_last_run": round(seconds), "resumed": bool(had), "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(), "torch": torch.__version__,
        "loss": [round(log["loss"], 4) for log in trainer.state.log_history if "loss" in log]}, indent=1) + "\n")
    print(f"{name}: made in {seconds / 60:.1f} min")
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("params", type=Path)
    parser.add_argument("names", nargs="*", help="the networks to make; default all")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop, with a checkpoint, after so long")
    parser.add_argument("--work", type=Path, default=Path("results/zoo"), help="where checkpoints go")
    args = parser.parse_args()
    params = yaml.safe_load(args.params.read_text())
    common, zoo = params["common"], params["networks"]
    unknown = set(args.names) - set(zoo)
    if unknown:
        parser.error(f"no network {', '.join(sorted(unknown))} in {args.params}; there are {', '.join(zoo)}")
    if not (ZOO / "tokenizer").exists():
        made = make_tokenizer(common["vocabulary"], common["tokenizer_chats"], common["seed"], common["context"])
        made.save_pretrained(ZOO / "tokenizer")
    for name in args.names or zoo:
        train(name, zoo[name], common, args.work, args.minutes)


if __name__ == "__main__":
    main()
