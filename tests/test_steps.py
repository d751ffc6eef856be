"""Tests of steps and their labels, and of replies that are continued."""

import pandas as pd
import pytest
import tiny

from agentark import tasks
from agentark.engines import Sampling, tokens
from agentark.engines.transformers_engine import TransformersEngine
from agentark.extract import steps
from agentark.mas.prompts import user_turn
from agentark.tasks import mini_med

GSM = tasks.problems("mini_gsm", "train", 4)
MED = tasks.problems("mini_med", "train", 40)
GREEDY = Sampling(0.0, 12)


def test_a_step_is_a_line():
    assert steps.split("gets 1+1=2\n\n  \n each 2*2=4 \r\nAnswer: 4\n") == ["gets 1+1=2", "each 2*2=4", "Answer: 4"]
    assert steps.split("") == steps.split("\n \n") == [] and steps.split("one") == ["one"]


def test_which_step_is_the_answer():
    assert all(map(steps.is_answer, ["Answer: 4", " final answer is 4", "so \\boxed{4}"]))
    assert not any(map(steps.is_answer, ["gets 1+1=2", "the answer is 4?", "answering"]))


def test_outcome():
    assert (
        steps.outcome(True, ["a", "b"]) == [True, True]
        and steps.outcome(False, ["a"]) == [False]
        and steps.outcome(True, []) == []
    )


@pytest.mark.parametrize(
    ("step", "true"),
    [
        ("gets 12+5=17", True),
        ("gets 12+5=18", False),
        ("each 9 × 3 = 27", True),
        ("keeps 25÷5=5", True),
        ("keeps 7/2=3", False),
        ("keeps 7/2=3.5", True),
        ("8/3=2.67", True),
        ("8/3=2.68", False),
        ("2+3+4=9", True),
        ("(2+3)*4=20, so 4", True),
        ("3+4 = 6+1", True),
        ("5-8=-3", True),
        ("-3+5=2", True),
        ("1+1=2 and 2+2=5", False),
        ("1+1=2 and 2+2=4", True),
        ("2+2=4=5-1", True),
        ("2+2=4=5-2", False),
        ("x*3+5: 17-5=12", True),
        ("cost $1,200+$5=$1,205.", True),
        ("5/0=3", False),
        ("3=5/0", False),
        # nothing to check
        ("gets apples", None),
        ("x+3=7", None),
        ("x + 3 = 7", None),
        ("x1+3=7", None),
        ("12=12", None),
        ("5=-3", None),
        ("=", None),
        ("2+=4", None),
        ("2==2", None),
        ("36+007=43", None),
        ("10% * 5 = 0.5", None),
        ("1+1 = two", None),
        ("((2+3=5", None),
        ("9**9**9=1", None),
        ("", None),
    ],
)
def test_arithmetic_executes_each_equation(step, true):
    assert steps.arithmetic("mini_gsm", GSM[0], [step]) == [true]


def test_the_verifier_checks_the_answer_line():
    [p, *_] = GSM
    assert steps.arithmetic(
        "mini_gsm", p, [f"Answer: {p.answer}", f"Answer: {p.answer}1", "Answer: none", "Answer: 1+1=2"]
    ) == [True, False, False, False]
    p = MED[0]
    right = "ABCD".index(p.answer)
    assert steps.arithmetic(
        "mini_med", p, [f"Answer: {p.options[right]}", f"Answer: {p.options[right - 1]}", f"Answer: {p.answer}"]
    ) == [True, False, True]


def test_facts_are_looked_up():
    drug = mini_med.FACTS.drugs[0]
    disease = mini_med.FACTS.relation["treats"][drug]
    symptom = mini_med.FACTS.relation["causes"][disease]
    other = next(d for d in mini_med.FACTS.diseases if d != disease)
    labels = {
        f"{drug} treats {disease}.": True,
        f"{drug} treats {other}.": False,
        f"{disease} causes {symptom}": True,
        "nobodyxin treats gegasis.": False,
        f"asked: the organ of {drug}.": None,
        f"so asked: {disease} causes what?": None,
        f"{drug} treats {disease}. {disease} causes {symptom}.": True,
        f"{drug} treats {disease}. {disease} causes nothing.": False,
        "sum 1+1=2": True,
    }
    assert steps.arithmetic("mini_med", MED[0], list(labels)) == list(labels.values())
    assert steps.arithmetic("mini_gsm", GSM[0], list(labels)) == [None] * 8 + [True]  # only mini_med has facts


@pytest.mark.parametrize("task", ["mini_gsm", "mini_math", "mini_meta", "mini_med"])
def test_gold_solutions_are_true(task):
    for p in tasks.problems(task, "train", 60):
        labels = steps.arithmetic(task, p, steps.split(p.solution))
        assert False not in labels and labels[-1] is True
        if task != "mini_med":
            assert None not in labels


# Rollouts


def script(right):
    """Return a generator that answers right if `right(prefix, sample)` is true, and the list of its chats."""
    answers = {p.question: p.answer for p in GSM}
    seen = []

    def generate(chats, samples):
        seen.extend(chats)
        return [
            [
                f"and so\nAnswer: {answers[chat[0]['content']] if right(chat[1]['content'], k) else 'nothing'}"
                for k in range(samples)
            ]
            for chat in chats
        ]

    return generate, seen


def test_rollout_is_the_share_that_ends_right():
    p, q = GSM[:2]
    generate, seen = script(lambda prefix, k: k < prefix.count("good"))
    traces = [["good", "good", f"Answer: {p.answer}"], ["good", "bad"], ["good", "bad", "Answer: no"], []]
    assert steps.rollout(generate, tasks.get("mini_gsm"), [p, p, q, q], traces, 4) == [
        [0.25, 0.5, 1.0],
        [0.25, 0.25],
        [0.25, 0.25, 0.0],
        [],
    ]
    # equal prefixes are continued once, finished ones never; a chat ends with the partial reply and a newline
    assert [(chat[0]["content"], chat[1]) for chat in seen] == [
        (x.question, {"role": "assistant", "content": text})
        for x, text in ((p, "good\n"), (p, "good\ngood\n"), (p, "good\nbad\n"), (q, "good\n"), (q, "good\nbad\n"))
    ]
    assert (
        steps.rollout(generate, tasks.get("mini_gsm"), [p], [["Answer: 0"]], 4) == [[0.0]] and len(seen) == 5
    )  # nothing to continue, no call


def test_rollout_counts_its_completions():
    with pytest.raises(ValueError, match="expected 3 completions per prefix, got 2"):
        steps.rollout(lambda chats, n: [["a"] * 2] * len(chats), tasks.get("mini_gsm"), GSM[:1], [["a"]], 3)


# The table


def entry(problem, agent, text, number=1):
    return {"problem": problem.id, "round": number, "agent": agent, "text": text, "gold": problem.answer}


def log_of(*entries):
    """Return a graded log of mini_gsm's training problems."""
    return tiny.graded(pd.DataFrame(entries))


def test_the_table_of_steps():
    p, q = GSM[:2]
    log = log_of(
        entry(p, 1, f"gets 1+1=2\n\nwell\nAnswer: {p.answer}\n"),
        entry(p, 2, "gets 1+1=3\nAnswer: nothing"),
        entry(p, 1, f"Check: agent 2 is wrong: gets 1+1=3\ngets 2+2=4\nAnswer: {p.answer}", 2),
        entry(q, 1, "  \n"),
        entry(q, 0, "sums 1+1=2", 2),
    )
    table = steps.table(log, "mini_gsm", "train", "terse")
    assert list(table.columns) == [
        "problem",
        "agent",
        "round",
        "step",
        "text",
        "trace",
        "trace_correct",
        "outcome",
        "arithmetic",
    ]
    rows = [
        (
            r.problem,
            r.agent,
            r.round,
            r.step,
            r.text,
            r.trace_correct,
            r.outcome,
            None if pd.isna(r.arithmetic) else r.arithmetic,
        )
        for r in table.itertuples()
    ]
    assert rows == [
        (p.id, 1, 1, 0, "gets 1+1=2", True, True, True),
        (p.id, 1, 1, 1, "well", True, True, None),
        (p.id, 1, 1, 2, f"Answer: {p.answer}", True, True, True),
        (p.id, 2, 1, 0, "gets 1+1=3", False, False, False),
        (p.id, 2, 1, 1, "Answer: nothing", False, False, False),
        (p.id, 1, 2, 0, "gets 2+2=4", True, True, True),
        (p.id, 1, 2, 1, f"Answer: {p.answer}", True, True, True),
    ]
    assert table.trace[0] == f"gets 1+1=2\n\nwell\nAnswer: {p.answer}" and table.arithmetic.dtype == "boolean"
    assert steps.count(log, table) == {
        "traces": 4,
        "traces without steps": 1,
        "steps": 7,
        "steps that nothing could be checked of (arithmetic)": 1,
        "steps of wrong traces": 2,
        "of these right (arithmetic)": 0,
    }
    with_shares = steps.table(log, "mini_gsm", "train", "terse", script(lambda prefix, k: k == 0)[0], 4)
    assert with_shares.drop(columns="rollout").equals(table)
    assert list(with_shares.rollout) == [0.25, 0.25, 1.0, 0.25, 0.0, 0.25, 1.0]


def test_a_custom_splitter():
    log = log_of(entry(GSM[0], 1, "gets 1+1=2; gets 2+2=5; Answer: 1"))
    table = steps.table(log, "mini_gsm", "train", "terse", splitter=lambda text: text.split("; "))
    assert list(table.text) == ["gets 1+1=2", "gets 2+2=5", "Answer: 1"] and list(table.arithmetic)[:2] == [True, False]


def test_a_table_without_rows():
    table = steps.table(log_of(entry(GSM[0], 1, "")), "mini_gsm", "train", "terse")
    assert len(table) == 0 and "arithmetic" in table


# Continuing


def reply(text):
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize("name", ["qwen3", "llama", "gemma", "gemma3_text", "qwen2_5_vl"])
def test_continuing_gives_the_tokens_of_the_uninterrupted_reply(networks, name):
    engine = TransformersEngine(networks[name], tiny.ENGINE)
    cut = 0
    for chat in [user_turn(p.question) for p in GSM]:
        [whole] = engine.generate([chat], GREEDY, 0)
        for length in range(1, whole.tokens_out):
            text = engine.tokenizer.decode(whole.token_ids[:length])
            if tuple(engine.tokenizer(text, add_special_tokens=False).input_ids) != whole.token_ids[:length]:
                continue  # a random network may split words differently from the tokenizer
            [rest] = engine.generate([[*chat, reply(text)]], Sampling(0.0, 12 - length), 0)
            assert rest.token_ids == whole.token_ids[length:] and rest.tokens_in == whole.tokens_in + length
            cut += 1
    assert cut >= 2


def test_a_half_written_reply_keeps_its_newline(networks):
    engine = TransformersEngine(networks["qwen3"], tiny.ENGINE)
    [plain] = tokens.prompt_texts(engine.tokenizer, [[*user_turn("1+1"), reply("so 2\n")]])
    assert plain == "<|user|>1+1<|end|><|assistant|>so 2\n"
    engine.tokenizer.chat_template = engine.tokenizer.chat_template.replace(
        "{{ m['content'] }}", "{{ m['content'] | trim }}"
    )
    assert tokens.prompt_texts(engine.tokenizer, [[*user_turn("1+1"), reply("so 2\n")], user_turn("1+1 ")]) == [
        plain,
        "<|user|>1+1<|end|><|assistant|>",
    ]
