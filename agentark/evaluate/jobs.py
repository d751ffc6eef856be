"""The runs that train and evaluate students: untrained ones, reward models, and each method on each training set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

from agentark import store
from agentark.cells import Artifact, Cell
from agentark.cells.files import DEFAULT_PROTOCOL
from agentark.distill import chains
from agentark.distill.artifacts import PRMS, SHUFFLED_PRMS, STUDENTS, backbone, scored_by
from agentark.distill.method import Method, methods
from agentark.extract.jobs import STEPS, TRACES, decontaminated, final_traces
from agentark.grade import grading
from agentark.graph.job import Job, Study, Work, job
from agentark.mas.jobs import DEBATES
from agentark.models import fit
from agentark.tasks import sources

ANSWERS = ("evaluate", "engine", "stats.level", "sizes.test")
PREDICTIONS = Artifact("predictions", (*STUDENTS.names, "test"), (*STUDENTS.sections, "evaluate"))
ROLLOUTS = Artifact("rollouts", ("student", "train", "split"), ("evaluate", "engine", "sizes.dev"))
EXAMINED_BY = ("sizes.dev", "evaluate", "rl.aggregation")
EXAMINATIONS = Artifact(PRMS.folder, PRMS.names, (*PRMS.sections, *EXAMINED_BY), suffix=".csv")
REWARD_MODELS = {"prm": PRMS, "shuffled": SHUFFLED_PRMS}  # by the reward of a method
MODEL_SECTIONS = ("prm", "rl.aggregation", "evaluate", "engine")  # of reward models and their examination
PERPLEXITY_ITEMS = 200  # ours: problems of each test; the paper draws 100, whose intervals are wider
EXAMINED_TEXTS = 1.5  # of an examination for each trace, with its injected errors and the off-topic texts: assumed
PAIRS = 2.2  # of a right and a wrong trace of one round, of a problem that has any: measured on the debates of mini
REWARD_MODEL_STEPS = 6  # steps of a trace: assumed; only the labeller `rollout` generates from each


def jobs(study: Study) -> Iterator[Job]:
    """The untrained students, then for each teacher and training set the reward models and every method.

    An axis of the evaluation alone does not repeat the training: the run of its first value writes what others read.
    """
    written: set[Path] = set()
    for each in _declared(study):
        read = tuple(path for path in each.outputs if path in written)
        outputs = tuple(path for path in each.outputs if path not in written)
        written.update(outputs)
        yield replace(each, inputs=each.inputs + read, outputs=outputs)


def _declared(study: Study) -> Iterator[Job]:
    config, known = study.base.study, methods()
    groups = study.groups()
    for variant, students in product(study.variants(ANSWERS), groups):
        yield _untrained(variant, students, len(groups) > 1)
    chosen = [known[name] for name in config.methods]
    for teacher, task, protocol in product(config.teachers, config.train_tasks, config.protocols):
        cell = {"teacher": teacher, "train": task, "protocol": protocol}
        if any(method.reward for method in chosen):  # which practise the problems whose steps are labelled
            for seed, variant in product(config.seeds, study.variants(EXAMINATIONS.sections, taught=True)):
                yield _reward_models(variant, variant.cell(**cell, seed=seed))
        for method in chosen:
            sections = (*chains.sections(method.name, study.base.rl.init), *ANSWERS)
            for seed, variant, students in product(config.seeds, study.variants(sections, taught=True), groups):
                trained = variant.cell(**cell, method=method.name, seed=seed)
                yield _trained(variant, method, trained, students, len(groups) > 1)


def cells(study: Study) -> list[Cell]:
    """The cells of a study whose students answer its test sets, untrained ones first; a cell has one student."""
    found: dict[Cell, None] = {}
    for each in jobs(study):
        about = each.coordinates
        if "method" not in about:  # reward models
            continue
        where = {"method": about["method"], "seed": about["seed"], "axes": tuple(about.get("axes", {}).items())}
        if methods()[about["method"]].trained:
            protocol = about.get("protocol", DEFAULT_PROTOCOL)
            where |= {"teacher": about["teacher"], "train": about["task"], "protocol": protocol}
        found.update(dict.fromkeys(Cell(student=student, **where) for student in about["students"]))
    return list(found)


def _answers(study: Study, cell: Cell, students: list[str]) -> list[Path]:
    """The predictions of each student on each test set that it can take, and their grades."""
    tests = {s: fit.tests_of(s, study.base.study.test_tasks, study.params.engine) for s in students}
    tested = [cell.but(student=s, test=t, split="test") for s in students for t in tests[s]]
    paths = [study.path(PREDICTIONS, each) for each in tested]
    return [*paths, *map(grading.path_of, paths)]


def _graders(study: Study) -> list[str]:
    return [root for test in study.base.study.test_tasks for root in grading.roots(test)]


def _untrained(study: Study, students: list[str], split_up: bool) -> Job:
    seed, known = study.base.study.seeds[0], methods()["base"]
    cell, votes = study.cell(method=known.name, seed=seed), study.params.evaluate.base_votes
    coordinates = {"teacher": study.base.study.teachers[0], "method": known.name, "students": students, "seed": seed}
    parts, source = [known.name, *(students if split_up else [])], ["agentark.evaluate.students:untrained"]
    work = {"models": students, "tokens": lambda r: _add(*(answer_tokens(study, s, votes, r) for s in students))}
    files = {"inputs": [], "outputs": _answers(study, cell, students), "sections": ANSWERS}
    return job(study, known.notebook, cell, coordinates, parts, **files, **work, source=[*source, *_graders(study)])


def _trained(study: Study, method: Method, cell: Cell, students: list[str], split_up: bool) -> Job:
    own = [cell.but(student=student) for student in students]
    first = cell.but(seed=study.base.study.seeds[0])  # students of every seed learn from the traces of the first
    inputs = [study.path(STEPS, cell) if method.reward else study.path(TRACES, first)]
    if model := REWARD_MODELS.get(method.reward):
        inputs += _models(study, own, model)
    if method.reward == "prm":  # which has to pass
        inputs += [study.path(EXAMINATIONS, each) for each in own]
    starts = [start for each in own if (start := chains.start(each, study.params.rl.init))]
    inputs += [store.manifest_path(study.path(STUDENTS, start)) for start in starts]
    code = ["agentark.evaluate.students:train_and_evaluate", *sources(cell.train)["problems"], *_graders(study)]
    code += method.sources or ["agentark.distill.prm", "agentark.distill.pad"]
    names = {"teacher": cell.teacher, "students": students, "task": cell.train, "method": method.name}
    parts = [cell.teacher, method.name, cell.train, f"s{cell.seed}", *(students if split_up else [])]
    outputs = [store.manifest_path(study.path(STUDENTS, each)) for each in own] + _answers(study, cell, students)
    files = {"inputs": inputs, "outputs": outputs, "sections": (*chains.trained_by(method), *ANSWERS), "source": code}
    network = study.params.prm.backbone
    judge = {"teacher": [cell.teacher], "likelihood": [] if network == "student" else [network]}
    models = [*students, *judge.get(method.reward, [])]
    work = {"models": models, "tokens": lambda r: _add(*(training_tokens(study, method, each, r) for each in own))}
    return job(study, method.notebook, cell, names | {"seed": cell.seed}, parts, **files, **work)


def _reward_models(study: Study, cell: Cell) -> Job:
    config, own = study.params, [cell.but(student=student) for student in study.base.study.students]
    first = cell.but(seed=study.base.study.seeds[0])
    logs = [study.path(DEBATES, first.but(split=split)) for split in ("train", "dev")]
    backbones = [] if config.prm.backbone == "student" else [config.prm.backbone]
    models = _models(study, own, PRMS, SHUFFLED_PRMS)
    stages = ("evaluate.students", "evaluate.examination", "extract.label:run", "distill.prm")
    students, parts = study.base.study.students, [cell.teacher, cell.train, f"s{cell.seed}"]
    coordinates = {"teacher": cell.teacher, "students": students, "task": cell.train, "seed": cell.seed}
    files = {"inputs": [path for log in logs for path in (log, grading.path_of(log))]}
    files["outputs"] = [study.path(STEPS, cell), *(study.path(EXAMINATIONS, each) for each in own), *models]
    sections = (f"debate{'' if config.prm.labeller == 'rollout' else '.wording'}", *MODEL_SECTIONS)
    code = [*(f"agentark.{s}" for s in stages), *decontaminated(study, cell), *grading.roots(cell.train)]
    work = {"models": [cell.teacher, *students, *backbones], "tokens": lambda r: reward_model_tokens(study, cell, r)}
    return job(study, "06_prm", cell, coordinates, parts, **files, **work, sections=sections, source=code)


def _models(study: Study, cells: list[Cell], *kinds: Artifact) -> list[Path]:
    """The manifests of the reward models of some students: a backbone that is not the student's serves all of them."""
    judged = dict.fromkeys(scored_by(study.params.prm, cell) for cell in cells)
    return [store.manifest_path(study.path(kind, each)) for each in judged for kind in kinds]


def _add(*parts: Work) -> Work:
    """The sum of several jobs' work."""
    total: defaultdict[tuple[str, str], float] = defaultdict(float)
    for part in parts:
        for kind, tokens in part.items():
            total[kind] += tokens
    return {kind: tokens for kind, tokens in total.items() if tokens}


def answer_tokens(study: Study, student: str, samples: int, rates) -> Work:
    """The expected tokens of a student's answers to all test sets: one greedy pass and so many samples."""
    taken = fit.tests_of(student, study.base.study.test_tasks, study.params.engine)
    n = sum(study.size("test", test) for test in taken)
    read = n * (1 + (samples > 0)) * rates.question
    return {("generated", student): (1 + samples) * n * rates.reply, ("read", student): read}


def training_tokens(study: Study, method: Method, cell: Cell, rates) -> Work:
    """The expected tokens of a student's training and of its answers."""
    config, student, n = study.params, cell.student, study.size("train", cell.train)
    answers = answer_tokens(study, student, config.evaluate.samples, rates)
    if method.pairs:  # two traces each, and π_ref adds a forward pass; about the problems that are debated have a pair
        traces = 2 * n * rates.debating * min(config.dpo.pairs, PAIRS)
        trained = traces * config.dpo.epochs * (4 / 3) * (rates.question + rates.reply)
        return _add(answers, {("trained", student): trained})
    if not method.reward:
        length = rates.question + method.completion(rates.reply)
        copies = method.copies(config)
        traces = n * (max(1, copies * rates.kept) if copies > 1 else copies)
        trained = traces * config.distill.of(method.name).epochs * length
        return _add(answers, {("trained", student): trained})
    rl = config.rl.of(method.name)
    length = rates.question + rates.reply
    if method.optimiser == "select":  # what judges, a network of its own or not, reads each sample
        trained = {("trained", student): n * config.distill.of(method.name).epochs * length}
        judged = n * rl.generations / 3 * length if method.reward in chains.JUDGED_BY else 0.0
        work = {("sampled", student): n * rl.generations * rates.reply, ("read", student): n * rates.question}
        return _add(answers, work, trained, {("trained", backbone(config.prm, cell)): judged})
    steps = max(1, round(rl.steps * n / config.sizes.count("train", cell.train)))
    prompts = steps * rl.prompts_per_step
    dev = (steps // rl.dev_every + 2) * min(rl.dev_problems, study.size("dev", cell.train))
    sampled, read = (prompts * rl.generations + dev) * rates.reply, prompts * rates.question
    # π_ref and R_φ, or the teacher, add a forward pass each
    trained = prompts * rl.generations * length * (4 / 3 if method.optimiser == "opd" else 5 / 3)
    return _add(answers, {("sampled", student): sampled, ("read", student): read, ("trained", student): trained})


def reward_model_tokens(study: Study, cell: Cell, rates) -> Work:
    """The expected tokens of a training set's reward models, their controls, their labels and their examination."""
    config, n = study.params, study.size("train", cell.train)
    traces = final_traces(study, cell, rates)
    if config.prm.loss == "contrastive":  # of problems with right and wrong traces: about those that are debated
        traces = n * rates.debating * config.debate.agents * config.debate.rounds
    parts: list[Work] = []
    if config.prm.labeller == "rollout":
        rollouts = traces * REWARD_MODEL_STEPS
        generated = rollouts * config.prm.rollouts / 2 * rates.reply
        parts.append({("generated", cell.teacher): generated, ("read", cell.teacher): rollouts * rates.question})
    epochs = config.prm.stage1_epochs / 3 + config.prm.stage2_epochs  # stage I has hardly a backward pass
    dev = study.size("dev", cell.train)
    votes, length = config.evaluate.base_votes, rates.question + rates.reply
    debated = final_traces(study, cell, rates) / n * dev
    examined = 4 * EXAMINED_TEXTS * (debated + dev * votes) * length  # by the model and three controls
    trained = 2 * traces * epochs * length  # with the control
    answers = dev * (1 + votes) * rates.reply
    for student in study.base.study.students:
        parts.append({("generated", student): answers, ("read", student): 2 * dev * rates.question})
    backbones = dict.fromkeys(backbone(config.prm, cell.but(student=s)) for s in study.base.study.students)
    return _add(*parts, *({("trained", each): trained, ("read", each): examined} for each in backbones))
