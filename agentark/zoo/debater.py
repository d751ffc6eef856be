"""What a teacher of the zoo can do as a critic: which traces and steps it calls wrong, against chance.

Its five samples of a problem are the traces of five agents, each of whom replies to all, as in round 2 of a debate.
The positive control has peers of which it is known what is wrong: a right trace and one with an injected error.
"""

from __future__ import annotations

from random import Random

from agentark import store, tasks
from agentark.engines import Sampling
from agentark.mas import checks, prompts
from agentark.tasks import Problem
from agentark.zoo.checking import check, steps_of
from agentark.zoo.exercises import DEBATED, MODULES, Exercise
from agentark.zoo.measuring import ALONE, TO_PEERS, Network, Section, cut, debates, share

AGENTS = 5
TERSE = prompts.WORDINGS["terse"]
NONE_IS_RIGHT = f"{prompts.CHECK}: none is right"


def measure(network: Network, name: str, settings: dict) -> dict:
    """Let a network reply to its own samples of a task's dev problems, and to peers with a known error.

    Returns traces (see `on_its_own_samples`) and control (see `on_injected_errors`).
    """
    given = exercises(name, settings["debated"])
    task = tasks.get(name)
    alone = [prompts.user_turn(task.prompt(e.problem)) for e in given for _ in range(AGENTS)]
    first = Sampling(settings["temperature"], ALONE)
    samples = network.engine.generate(alone, first, store.chunk_seed(0, f"{name} samples"))
    traces = cut([c.text for c in samples], AGENTS)

    def replies(label: str, shown: list[list[str]], agents: int) -> list[list[str]]:
        """The replies of the first agents to the traces that are shown of each problem."""
        chats = [prompts.revise(task.prompt(e.problem), some, agent, "shared", TERSE)
                 for e, some in zip(given, shown, strict=True) for agent in range(1, agents + 1)]  # fmt: skip
        sampling = Sampling(settings["temperature"], TO_PEERS)
        completions = network.engine.generate(chats, sampling, store.chunk_seed(0, f"{name} {label}"))
        return cut([c.text for c in completions], agents)

    peers, wrong_at = injected(given, [some[0] for some in traces])
    control = on_injected_errors([texts[0] for texts in replies("control", peers, 1)], wrong_at)
    return {"traces": on_its_own_samples(given, traces, replies("replies", traces, AGENTS)), "control": control}


def exercises(name: str, n: int) -> list[Exercise]:
    """The first n dev problems of a task, with functions that solve and spoil them."""
    module = MODULES[name]
    wanted = {p.id: p for p in tasks.problems(name, "dev", n)}
    more = {}
    if name == "mini_meta":  # made from the stories of mini_gsm's split
        more["stories"] = MODULES["mini_gsm"].stream("dev", Random("mini_gsm dev"))
    found: list[Exercise] = []
    for case, problem, *stray in module.stream("dev", Random(f"{name} dev"), **more):
        if wanted.get(problem.id) == problem:
            found.append(_exercise(name, problem, case, stray))
        if len(found) == n:
            break
    return found


def _exercise(name: str, problem: Problem, case, stray: list) -> Exercise:
    module, rng = MODULES[name], Random(f"card {problem.id}")
    return Exercise(name, problem, lambda: module.solve(case, rng), lambda: module.spoil(case, *stray, rng))


def on_its_own_samples(given: list[Exercise], traces: list[list[str]], replies: list[list[str]]) -> dict:
    """Count the verdicts on peers (never on itself) of the replies to traces; both are by problem and agent.

    Returns, as shares:

    - checked: replies with a verdict on a peer; no_check: replies without any verdict;
    - precision: of the peers called wrong, those whose answer is wrong; chance: of all judged peers, which is the
      precision of calling peers wrong at random; recall: of the judged wrong peers, those called wrong; false_alarms:
      of the judged right peers, those called wrong;
    - step_precision: of the peers called wrong, those of which the step said to be wrong is the first wrong one (by
      `checking.check`); step_chance: the same of a step at random; step_repaired: of the first wrong steps that were
      found, those that are also computed right;
    - keep, repair, anew: of the replies, those that keep a trace, repair one, or find none right; kept_is_right: of the
      kept traces, those with a right answer, and chance_kept: of all traces that these replies saw;
    - before and after: the accuracy of the traces and of the replies.

    Those of one problem are not independent, which the intervals take into account.
    """
    counts: dict[str, list[tuple[float, str]]] = {key: [] for key in (
        "checked", "no_check", "precision", "chance", "recall", "false_alarms", "step_precision", "step_chance",
        "step_repaired", "keep", "repair", "anew", "kept_is_right", "chance_kept", "before", "after")}  # fmt: skip
    for exercise, some, texts in zip(given, traces, replies, strict=True):
        problem = exercise.problem
        right = [right_answer(exercise, trace) for trace in some]
        checked = [check(k, trace, exercise) for k, trace in enumerate(some, 1)]

        def count(key: str, value: float, problem: Problem = problem) -> None:
            counts[key].append((float(value), problem.id))

        for value in right:
            count("before", value)
        for agent, text in enumerate(texts, 1):
            count("after", right_answer(exercise, text))
            said = [v for v in checks.verdicts(text) if 1 <= v.agent <= len(some)]
            on_peers = [v for v in said if v.agent != agent]
            count("checked", bool(on_peers))
            count("no_check", not said)
            for verdict in on_peers:
                is_right, truth = right[verdict.agent - 1], checked[verdict.agent - 1]
                count("chance", not is_right)
                count("false_alarms" if is_right else "recall", verdict.wrong)
                if verdict.wrong:
                    count("precision", not is_right)
                    at = next(n for n, step in enumerate(verdict.steps) if not step.right)
                    found = truth.wrong and at == truth.right_steps
                    count("step_precision", found)
                    count("step_chance", truth.wrong / max(1, len(steps_of(some[verdict.agent - 1]))))
                    if found:
                        count("step_repaired", verdict.steps[at].own == truth.steps[at].own)
            kind, kept = checks.choice(text) or ("", 0)
            kind = kind if 1 <= kept <= len(some) else ""
            for key in ("keep", "repair"):
                count(key, kind == key)
            count("anew", NONE_IS_RIGHT in text.splitlines())
            if kind == "keep":
                count("kept_is_right", right[kept - 1])
                count("chance_kept", sum(right) / len(right))
    result = {key: share(*map(list, zip(*pairs, strict=True))) if pairs else share([]) for key, pairs in counts.items()}
    return {"problems": len(given), "agents": AGENTS, **result}


def injected(given: list[Exercise], own: list[str]) -> tuple[list[list[str]], list[int]]:
    """For each problem three traces: the critic's own, and in random order a right one and one with an injected error.

    Returns the traces and the number (from 1) of the agent with the error.
    """
    traces, wrong_at = [], []
    for exercise, trace in zip(given, own, strict=True):
        wrong = exercise.wrong()
        while right_answer(exercise, wrong):  # two slips may cancel
            wrong = exercise.wrong()
        at = Random(f"control {exercise.problem.id}").choice((2, 3))
        right = exercise.right()
        traces.append([trace, wrong, right] if at == 2 else [trace, right, wrong])
        wrong_at.append(at)
    return traces, wrong_at


def on_injected_errors(replies: list[str], wrong_at: list[int]) -> dict:
    """Whether each reply tells the peer with the error from the right one (agents 2 and 3).

    Returns found: of the wrong peers, those called wrong; passed: of the right peers, those called right; and balanced:
    the mean of both, of which chance is 1/2.  A peer without a verdict is neither found nor passed; no_verdict is the
    share of them.
    """
    found, passed, silent = [], [], []
    for text, at in zip(replies, wrong_at, strict=True):
        said = {v.agent: v.wrong for v in reversed(checks.verdicts(text))}  # the first verdict on an agent counts
        found.append(said.get(at) is True)
        passed.append(said.get(5 - at) is False)
        silent += [k not in said for k in (2, 3)]
    balanced = [(one + other) / 2 for one, other in zip(found, passed, strict=True)]
    return {"found": share(found), "passed": share(passed), "balanced": share(balanced), "chance": 0.5,
            "no_verdict": share(silent)}  # fmt: skip


def right_answer(exercise: Exercise, text: str) -> bool:
    """Whether the answer of a text is right, as the debate's votes read it."""
    return MODULES[exercise.task].TASK.verify(text, exercise.problem)[2]


SECTION = Section(measure, lambda settings: list(DEBATED), ("debated", "temperature"), debates)
