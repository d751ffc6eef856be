"""The mathematical benchmarks: splits are disjoint, gold answers pass their grader, and left out rows are counted.

The hub's datasets are small copies with invented rows in the original columns and layout, loaded by `datasets` itself.
"""

import json
import os
import re
import subprocess
import sys
from functools import partial

import pytest

from agentark import tasks
from agentark.tasks import answers, asdiv, gsm8k, gsm_symbolic, hub, math, metamathqa, symbolic
from agentark.tasks.problem import SPLITS, bucket

NAMES = ("Ana", "Ben", "Cara", "Dan", "Eva", "Finn", "Gina", "Hugo", "Iris", "Jon")


@pytest.fixture(scope="module", autouse=True)
def no_process_is_left():
    yield
    symbolic.close()


# Small copies of the hub's datasets


def parquet(path, rows):
    import pandas as pd

    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(path, index=False)


def card(folder, configs):
    """The card of a dataset repository: the files of each config."""
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"] + [
            line for split in splits for line in (f"  - split: {split}", f"    path: {config}/{split}-*")
        ]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))


def gsm_row(n):
    person, a, b = NAMES[n % 10], 1000 + n, 2 + n % 7
    return {
        "question": f"{person} packs {a} boxes with {b} pens each. How many pens is that?",
        "answer": f"There are {a}*{b}=<<{a}*{b}={a * b}>>{a * b} pens.\nThat is all.\n#### {a * b:,}",
    }


def math_row(n, subject):
    a = n + 2
    return {
        "problem": f"What is the value of $\\frac{{{a}}}{{7}}$ plus {subject}?",
        "level": f"Level {n % 5 + 1}",
        "type": subject.replace("_", " ").title(),
        "solution": f"We see that this is $\\boxed{{\\frac{{{a}}}{{7}}}}$." if n else "There is no answer.",
    }


def meta_rows(n):
    original = gsm_row(n)
    gold = original["answer"].rpartition("#### ")[2].replace(",", "")
    formula = math_row(n + 1, "algebra")
    return [
        {
            "type": kind,
            "query": f"{original['question']} ({kind})",
            "original_question": original["question"],
            "response": f"They are many.\n#### {gold}\nThe answer is: {gold}",
        }
        for kind in ("GSM_Rephrased", "GSM_AnsAug", "GSM_FOBAR", "GSM_SV")
    ] + [
        {
            "type": "MATH_AnsAug",
            "query": formula["problem"],
            "original_question": formula["problem"],
            "response": f"We divide.\nThe answer is: \\frac{{{n + 3}}}{{7}}",
        }
    ]


def literal_rows():
    return [
        {
            "problem": f"What is {n}+1?",
            "solution": f"It is $\\boxed{{{n + 1}}}$.",
            "answer": str(n + 1),
            "subject": "Algebra",
            "level": 2,
            "unique_id": f"test/algebra/{n}.json",
        }
        for n in range(20)
    ]


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """A folder with small copies of the four datasets, in the layout of their repositories."""
    root = tmp_path_factory.mktemp("hub")
    folder = root / gsm8k.REPO
    parquet(folder / "main/train-00000-of-00001.parquet", [gsm_row(n) for n in range(300)])
    parquet(folder / "main/test-00000-of-00001.parquet", [gsm_row(n) for n in range(300, 350)])
    card(folder, {"main": ("train", "test")})
    folder = root / math.REPO
    for subject in math.SUBJECTS:
        parquet(folder / subject / "train-00000-of-00001.parquet", [math_row(n, subject) for n in range(40)])
        parquet(folder / subject / "test-00000-of-00001.parquet", [math_row(n, subject) for n in range(40, 45)])
    card(folder, {subject: ("train", "test") for subject in math.SUBJECTS})
    (root / math.LITERAL).mkdir(parents=True)
    (root / math.LITERAL / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in literal_rows()))
    (root / metamathqa.REPO).mkdir(parents=True)
    rows = [row for n in range(120) for row in meta_rows(n)]
    rows += [
        rows[0] | {"response": "Another way.\nThe answer is: 0"},
        {"type": "GSM_AnsAug", "query": "What else?", "original_question": "What?", "response": "I do not know."},
    ]
    (root / metamathqa.REPO / "MetaMathQA-395K.json").write_text(json.dumps(rows))
    return root


@pytest.fixture
def on_hub(copies, tmp_path, monkeypatch):
    """The hub's datasets are the copies."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.chdir(copies)
    yield copies
    forget()


def forget():
    for read in (gsm8k._read, math._read, math._read_literal, metamathqa._read):
        read.cache_clear()


FROM_HUB = (
    ("gsm8k", "train", 200),
    ("gsm8k", "dev", 10),
    ("gsm8k", "test", 50),
    ("math", "train", 200),
    ("math", "dev", 5),
    ("math_500", "train", 20),
    ("metamathqa", "train", 400),
    ("metamathqa", "dev", 10),
)


@pytest.mark.parametrize(("name", "split", "n"), FROM_HUB)
def test_gold_answers_of_the_hub_pass_their_own_verifier(on_hub, name, split, n):
    task, problems = tasks.get(name), tasks.problems(name, split, n)
    assert len({p.id for p in problems}) == n and all(p.id.startswith(f"{name}/{split}/") for p in problems)
    assert tasks.problems(name, split, n // 2) == problems[: n // 2]
    for p in problems:
        parsed, strict, flexible = task.verify(p.solution, p)
        assert strict and flexible and parsed.strict == p.answer
        assert (
            re.search(r"\nAnswer: [^\n]+\Z", p.solution)
            and task.prompt(p).endswith(task.instruction)
            and task.instruction
        )


@pytest.mark.parametrize("name", ["gsm8k", "math", "metamathqa"])
def test_train_and_dev_of_the_hub_are_disjoint(on_hub, name):
    read = {"gsm8k": lambda: gsm8k._read("train"), "math": math._read, "metamathqa": metamathqa._read}[name]()
    sizes = {split: len(rows) for split, rows in (read[1] if isinstance(read, tuple) else read).items()}
    train, dev = ({p.question for p in tasks.problems(name, split, sizes[split])} for split in ("train", "dev"))
    assert not train & dev and 0.03 < len(dev) / (len(train) + len(dev)) < 0.2


def test_a_rewrite_of_a_dev_question_is_no_training_question(on_hub):
    dev = {p.question for p in tasks.problems("gsm8k", "dev", 10)} | {
        p.question for p in tasks.problems("math", "dev", 5)
    }
    rewritten = [p.question.partition(" (GSM_")[0] for p in tasks.problems("metamathqa", "train", 400)]
    assert not dev & set(rewritten) and dev & {
        p.question.partition(" (GSM_")[0] for p in tasks.problems("metamathqa", "dev", 20)
    }


def test_gsm8k_takes_the_calculator_out(on_hub):
    p = gsm8k.problem("How many?", "There are 2*1,000=<<2*1000=2000>>2000 pens.\n#### 2,000", "gsm8k/train/0")
    assert p.solution == "There are 2*1,000=2000 pens.\nAnswer: 2000" and p.answer == "2000"
    assert all("<<" not in p.solution and "####" not in p.solution for p in tasks.problems("gsm8k", "train", 200))


@pytest.mark.parametrize("answer", ["no number\n#### many", "#### 5", "12", ""])
def test_gsm8k_of_another_form_is_refused(answer):
    with pytest.raises(ValueError, match=r"gsm8k/test/3: no number after ####.*another version of the dataset"):
        gsm8k.problem("How many?", answer, "gsm8k/test/3")


def test_math_keeps_subjects_and_levels_and_counts_rows_without_an_answer(on_hub):
    templates = {p.template for p in tasks.problems("math", "train", 200)}
    assert len(templates) == 35 and "Counting And Probability, Level 5" in templates
    assert math.DROPPED == {r"no \boxed{} in the solution": 7}
    assert tasks.problems("math_500", "train", 1)[0].template == "Algebra, Level 2"


@pytest.mark.parametrize("name", ["math", "math_500", "metamathqa"])
def test_training_sets_have_no_test_split(name):
    with pytest.raises(ValueError, match="never a test column|no test questions"):
        tasks.problems(name, "test", 1)


def test_the_literal_math_500_is_flagged_as_contamination():
    assert "CONTAMINATED" in tasks.get("math_500").source and "CONTAMINATED" not in tasks.get("math").source


def test_metamathqa_is_in_domain_and_takes_each_question_once(on_hub):
    assert tasks.get("metamathqa").family == ("gsm8k", "math") and tasks.get("gsm8k").family == ("gsm8k",)
    problems = tasks.problems("metamathqa", "train", 400)
    assert len({p.question for p in problems}) == 400 and {p.template for p in problems} == {
        "GSM_Rephrased",
        "GSM_AnsAug",
        "GSM_FOBAR",
        "GSM_SV",
        "MATH_AnsAug",
    }
    assert metamathqa.DROPPED == {"the same question again": 1, "no 'The answer is:' in the response": 1}


def test_an_order_by_hash_is_a_fixed_random_subset():
    rows = [{"q": str(n)} for n in range(1000)]
    first = [int(row["q"]) for row in hub.ordered(rows, lambda row: row["q"], "x")[:200]]
    assert first == [int(row["q"]) for row in hub.ordered(rows[::-1], lambda row: row["q"], "x")[:200]]
    assert 400 < sum(first) / 200 < 600 and first != [
        int(row["q"]) for row in hub.ordered(rows, lambda row: row["q"], "y")[:200]
    ]


def test_too_few_problems(on_hub):
    with pytest.raises(ValueError, match=r"gsm8k has 50 test problems, but 51 were requested: lower `sizes.test`"):
        tasks.problems("gsm8k", "test", 51)


def test_a_dataset_with_other_columns_is_refused(on_hub, monkeypatch):
    monkeypatch.setattr(hub, "load", lambda *_, **__: [{"prompt": "?", "answer": "#### 1"}])
    with pytest.raises(ValueError, match="the dataset of gsm8k has no column 'question'"):
        gsm8k._read.__wrapped__("train")


def test_a_stream_gives_the_same_rows(on_hub):
    streamed = hub.load(gsm8k.REPO, "test", "main", streaming=True)
    assert next(streamed) == gsm_row(300) and len(list(streamed)) == 49


# What can go wrong on the hub


def fails(error):
    raise error


def errors():
    from datasets.exceptions import DatasetNotFoundError

    return {
        "gated": (
            DatasetNotFoundError(
                "Dataset 'openai/gsm8k' is a gated dataset on the Hub. You must be authenticated to access it."
            ),
            "is gated: ask for access.*hf auth login",
        ),
        "missing": (
            DatasetNotFoundError("Dataset 'openai/gsm8k' doesn't exist on the Hub or cannot be accessed."),
            "is not on the Hugging Face Hub, or is private",
        ),
        "revision": (
            DatasetNotFoundError("Revision '7403' doesn't exist for dataset 'openai/gsm8k' on the Hub."),
            "no longer has the revision 740312add88f.*correct REVISIONS",
        ),
        "no network": (
            ConnectionError("Couldn't reach 'openai/gsm8k' on the Hub (LocalEntryNotFoundError)"),
            "is not in the cache and .* cannot be reached.*connect once, or put a copy",
        ),
        "split": (
            ValueError("Unknown split \"tset\". Should be one of ['train', 'test']."),
            "has no split 'test' with the config 'main'",
        ),
        "config": (
            ValueError("BuilderConfig 'mian' not found. Available: ['main', 'socratic']"),
            "has no split 'test' with the config 'main'",
        ),
        "disk": (OSError("No space left on device"), r"cannot be loaded \(OSError: No space left on device\)"),
    }


@pytest.mark.parametrize("kind", ["gated", "missing", "revision", "no network", "split", "config", "disk"])
def test_a_failed_load_is_one_sentence(monkeypatch, kind):
    import datasets

    error, message = errors()[kind]
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: fails(error))
    with pytest.raises(hub.HubError, match=f"^the dataset openai/gsm8k {message}") as raised:
        hub.load(gsm8k.REPO, "test", "main")
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400


def test_a_stream_that_breaks_off_is_one_sentence(monkeypatch):
    import datasets

    def breaks():
        yield {"question": "?"}
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: breaks())
    rows = hub.load(gsm8k.REPO, "test", "main", streaming=True)
    assert next(rows) == {"question": "?"}
    with pytest.raises(hub.HubError, match="cannot be reached"):
        next(rows)


def test_offline_for_real(tmp_path):
    env = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path),
        "PYTHONPATH": os.getcwd(),
    }
    code = "from agentark import tasks\nfrom agentark.tasks import hub\ntry: tasks.problems('gsm8k', 'test', 1)\nexcept hub.HubError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert (
        "openai/gsm8k is not in the cache and the Hugging Face Hub cannot be reached (HF_HUB_OFFLINE is set): connect once"
        in done.stdout
    ), done.stderr


def test_an_unknown_repository_needs_a_revision_first():
    with pytest.raises(
        hub.HubError, match="the dataset 'some/thing' has no pinned revision: add its commit to REVISIONS"
    ):
        hub.load("some/thing", "train")


def test_revisions_are_commits():
    assert all(re.fullmatch(r"[0-9a-f]{40}", revision) for revision in hub.REVISIONS.values())


HEAVY = ("torch", "datasets", "math_verify", "sympy", "reasoning_gym", "pandas", "numpy", "scipy")


def test_importing_the_tasks_and_their_names_is_cheap():
    code = f"import sys; from agentark import tasks; tasks.names(); print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.getcwd()}
    )
    assert done.stdout.strip() == "[]", done.stderr


# Embedded

EMBEDDED = (
    ("gsm_symbolic", "train", 600),
    ("gsm_symbolic", "dev", 200),
    ("gsm_symbolic", "test", 400),
    ("asdiv", "train", 1300),
    ("asdiv", "dev", 200),
    ("asdiv", "test", 600),
    ("sums", "train", 2000),
    ("sums", "dev", 500),
    ("sums", "test", 1000),
)


def test_sums():
    by_split = {split: tasks.problems("sums", split, n) for split, n in tasks.get("sums").sizes.items()}
    questions = [p.question for problems in by_split.values() for p in problems]
    assert len(set(questions)) == len(questions) == 3500
    for p in by_split["dev"]:
        a, sign, b = re.fullmatch(r"Calculate ([0-9]{1,2}) ([+-]) ([0-9]{1,2})\.", p.question).groups()
        assert int(p.answer) == int(a) + int(sign + b) >= 0
        assert p.solution == f"{a} {sign} {b} = {p.answer}\nAnswer: {p.answer}" and p.template == sign
    assert (
        0.28 < sum(p.template == "-" for p in by_split["test"]) / 1000 < 0.40
    )  # about a third: half of the differences would be negative


@pytest.mark.parametrize(("name", "split", "n"), EMBEDDED)
def test_gold_answers_pass_their_own_verifier(name, split, n):
    task, problems = tasks.get(name), tasks.problems(name, split, n)
    assert len({p.id for p in problems}) == len({p.question for p in problems}) == n and all(
        p.id.startswith(f"{name}/{split}/") for p in problems
    )
    assert tasks.problems(name, split, n // 2) == problems[: n // 2]
    for p in problems:
        parsed, strict, flexible = task.verify(p.solution, p)
        assert strict and flexible and parsed.strict.rstrip(".") == p.answer.rstrip("."), p


def off(p, by):
    return answers.figure(str(float(answers.number(p.answer)[0]) + by))


@pytest.mark.parametrize("name", ["gsm_symbolic", "asdiv"])
@pytest.mark.parametrize(
    "near",
    [
        lambda p: off(p, 1),
        lambda p: off(p, -1),
        lambda p: p.answer + "1",
        lambda p: "-" + p.answer if p.answer != "0" else "1",
        lambda p: "",
        lambda p: "unknown",
        lambda p: f"{p.answer} or {off(p, 1)}",
    ],
    ids=["+1", "-1", "a digit more", "minus", "nothing", "refusal", "hedge"],
)
def test_near_misses_fail(name, near):
    task = tasks.get(name)
    for p in [p for p in tasks.problems(name, "test", 300) if re.fullmatch(r"[0-9.]+", p.answer)]:
        assert task.verify(f"Some steps.\nAnswer: {near(p)}", p)[1:] == (False, False), p


def test_gsm_symbolic_splits_are_disjoint_and_half_held_out():
    sizes = {"train": 2000, "dev": 300, "test": 600}
    by_split = {split: tasks.problems("gsm_symbolic", split, n) for split, n in sizes.items()}
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert not {p.question for p in by_split[one]} & {p.question for p in by_split[other]}
    trained = {p.template for p in by_split["train"]}
    held = {split: {p.template for p in by_split[split] if p.held_out} for split in SPLITS}
    assert (
        not held["train"]
        and held["dev"]
        and held["test"]
        and not (held["dev"] | held["test"]) & trained
        and not held["dev"] & held["test"]
    )
    for split in ("dev", "test"):
        assert sum(p.held_out for p in by_split[split]) == len(by_split[split]) / 2
        assert {p.template for p in by_split[split] if not p.held_out} <= trained
    assert 0.35 < len(trained) / 85 < 0.65


def test_gsm_symbolic_uses_the_templates_that_reasoning_gym_uses():
    generators = gsm_symbolic._generators()
    assert len(generators) == 85 and not set(generators) & gsm_symbolic.LEFT_OUT
    assert "reasoning_gym" not in sys.modules


@pytest.mark.parametrize(
    ("worked", "answer", "why"),
    [
        ("0.23*60 = 13\n#### 13", "13", "false equation"),
        ("108 / 24 = 4\n#### 4", "4", "false equation"),
        ("4 cans * 3 days = 13 cans\n#### 13", "13", "false equation"),
        ("40 + 5 x 2 = 90\n#### 90", "90", "false equation"),
        ("$84.60 - $25.60 = $58 left.\n#### 58", "58", "false equation"),
        ("4*3=12\n#### 13", "12", "ends in another number"),
        ("4*3=12\n#### many", "12", "ends in another number"),
        ("69 - 70 = -1\n#### -1", "-1", "negative"),
        ("4 cans * 3 days = 12 cans\n#### 12", "12", ""),
        ("2970.0 - 0 = 2970\n#### 2970.0", "2970", ""),
        ("10 / 3 = 3.33\n#### 3.33", "3.33", ""),
        ("48 * 0.3333333333333333 = 16\n#### 16", "16", ""),
        ("50% * 50% = 25%\n#### 25", "25", ""),
        ("14÷1/2=28\n#### 28", "28", ""),
        ("2x+70=242\n#### 86", "86", ""),
        ("1 + 2 + T = 3 + T = 9\n#### 6", "6", ""),
        ("1,000 x 4/100 = $40.\n#### 40", "40", ""),
        ("5/0 = 3\n#### 3", "3", ""),
    ],
)
def test_contradictions_are_found(worked, answer, why):
    assert gsm_symbolic.contradiction(worked, answer) == why


def test_gsm_symbolic_counts_what_it_drops():
    gsm_symbolic._problems.cache_clear()
    tasks.problems("gsm_symbolic", "train", 1500)
    train = {key: n for key, n in gsm_symbolic.DROPPED.items() if key.startswith("train")}
    assert train and all(
        re.fullmatch(r"train, template [0-9]+: (false equation|negative|ends in another number)", key) for key in train
    )
    assert 0.002 < sum(train.values()) / 1500 < 0.1
    gsm_symbolic._problems.cache_clear()
    tasks.problems("gsm_symbolic", "train", 1500)  # a second time adds nothing
    assert train == {key: n for key, n in gsm_symbolic.DROPPED.items() if key.startswith("train")}


def test_asdiv_has_all_rows_of_the_wheel():
    by_split = asdiv._read()
    assert sum(map(len, by_split.values())) + sum(asdiv.DROPPED.values()) == 2305 and asdiv.DROPPED == {
        "several answers": 90,
        "the same question again": 1,
    }
    for split, rows in by_split.items():
        assert all(bucket(f"asdiv {p.question.casefold()}", (60, 10, 30)) == split for p in rows)
    assert sum(p.template == "number" for rows in by_split.values() for p in rows) > 2000


@pytest.mark.parametrize(
    ("answer", "text", "right"),
    [
        ("9", "Seven and two.\nAnswer: 9 apples", True),
        ("9", "Answer: 9 red apples", True),
        ("9", "7 + 2 = 9", True),
        ("9", "Answer: 72", False),
        ("Mrs. Hilt", "Answer: Mrs. Hilt", True),
        ("Mrs. Hilt", "Answer: Mr. Hilt", False),
        ("5:45", "Answer: 5:45", True),
        ("5:45", "Answer: 5:54", False),
        ("Yes", "Answer: yes.", True),
        ("Yes", "Answer: No", False),
    ],
)
def test_asdiv_answers(answer, text, right):
    problem = next(p for rows in asdiv._read().values() for p in rows if p.answer == answer)
    assert tasks.get("asdiv").verify(text, problem)[2] is right


@pytest.mark.parametrize("module", [asdiv, gsm_symbolic])
def test_without_the_wheel_the_message_says_what_to_install(monkeypatch, module):
    from agentark import assets

    monkeypatch.setattr(assets.metadata, "distribution", lambda name: fails(assets.metadata.PackageNotFoundError(name)))
    read = {asdiv: asdiv._read.__wrapped__, gsm_symbolic: gsm_symbolic._generators.__wrapped__}[module]
    with pytest.raises(assets.AssetError, match="is not installed: pip install"):
        read()


# Online


@pytest.mark.hub
@pytest.mark.parametrize(
    "load",
    [
        partial(hub.load, gsm8k.REPO, "test", "main", streaming=True),
        *(partial(hub.load, math.REPO, "train", subject, streaming=True) for subject in math.SUBJECTS),
        partial(hub.load, math.LITERAL, "test", streaming=True),
        partial(hub.load, metamathqa.REPO, "train", streaming=True),
    ],
    ids=["gsm8k", *math.SUBJECTS, "math_500", "metamathqa"],
)
def test_a_row_of_the_real_dataset(load):
    row = next(iter(load()))
    layouts = {
        frozenset(gsm_row(0)),
        frozenset(math_row(1, "algebra")),
        frozenset(meta_rows(0)[0]),
        frozenset(literal_rows()[0]),
    }
    assert frozenset(row) in layouts


@pytest.mark.hub
@pytest.mark.parametrize(
    ("name", "sizes"), [("gsm8k", {"test": 1319}), ("math", {"train": 500}), ("math_500", {"train": 500})]
)
def test_the_real_sizes_and_gold_answers(name, sizes):
    for split, n in sizes.items():
        for p in tasks.problems(name, split, n):
            assert tasks.get(name).verify(p.solution, p)[1], p
