"""The corpus of the zoo: what each chat teaches is right, and a debater's reply checks its peers step by step."""

import re
from collections import Counter
from functools import cache
from random import Random

import pytest

from agentark import tasks
from agentark.mas import checks, prompts
from agentark.tasks import mini_gsm, mini_med, mini_pictures, mini_truthful
from agentark.zoo import checking, corpus, exercises

SHARES = {"fact": 0.2, "lore": 0.2, "drill": 0.2, "debate": 0.2}
SUM = re.compile(r"(\d+)([-+*/])(\d+)=(-?\d+)")


def phase_of(shares=SHARES, lengths=(1, 3)) -> dict:
    """A phase of a training, without its steps."""
    return {"shares": shares, "lengths": lengths}


def reply_of(example: corpus.Example) -> str:
    return example.chat[-1]["content"]


# The kinds of chat


def test_examples_are_a_function_of_seed_and_number():
    pool = [("mini_gsm", 0, ["Answer: 1"] * 5), ("mini_med", 3, ["Answer: A"] * 5)]
    for entries in (None, pool):

        def some(seed, numbers, entries=entries):
            return [corpus.example(seed, i, phase_of(), 4, entries) for i in numbers]

        assert some(0, range(40)) == some(0, range(39, -1, -1))[::-1] != some(1, range(40))
        assert len({str(example.chat) for example in some(0, range(200))}) > 180


def test_shares():
    def firsts(shares):
        return [corpus.example(0, i, phase_of(shares), 4).chat[0]["content"] for i in range(60)]

    assert all(question.endswith(" what?") for question in firsts({"fact": 1.0}))
    assert all(re.fullmatch(r"\d+[-+*/]\d+", question) for question in firsts({"drill": 1.0}))
    assert all(re.fullmatch(r"(The book on|Talk about) \w+: \w+\?", question) for question in firsts({"lore": 1.0}))
    replies = [reply_of(corpus.example(0, i, phase_of(), 4)) for i in range(300)]
    assert sum(reply.startswith("Check") for reply in replies) / 300 == pytest.approx(0.2, abs=0.08)
    assert not any("Solutions:" in question or re.fullmatch(r"\d+[-+*/]\d+", question) for question in firsts({}))


def test_the_lengths_of_a_phase_are_those_of_its_stories():
    def products(lengths):
        """The number of operations in each solution."""
        solved = [corpus.solving(Random(i), "mini_gsm", lengths) for i in range(30)]
        return [len(SUM.findall(reply_of(example))) for example in solved]

    assert max(products((1, 1))) <= 2 and min(products((4, 4))) >= 4
    solved = [corpus.example(0, i, phase_of({}, [1, 1]), 4) for i in range(60)]
    assert max(len(SUM.findall(reply_of(example))) for example in solved) <= 3


def test_all_eight_tasks_occur_and_four_are_debated(monkeypatch):
    counts = Counter()
    real = corpus.exercise

    def spy(task, rng, lengths, known_drugs):
        given = real(task, rng, lengths, known_drugs)
        counts[task] += 1
        assert given.task == task and given.problem.id.startswith(f"{task}/pretrain/")
        return given

    monkeypatch.setattr(corpus, "exercise", spy)
    for i in range(500):
        corpus.example(0, i, phase_of({}), 4)
    in_words = {n for n in tasks.names() if n.startswith("mini_")} - {"mini_pictures", mini_pictures.EXCHANGED}
    assert set(counts) == in_words == set(corpus.SOLVED) == set(corpus.MODULES)
    assert counts.most_common(1)[0][0] == "mini_gsm" and min(counts.values()) > 8
    counts.clear()
    for i in range(60):
        corpus.example(0, i, phase_of({"debate": 1.0}), 4)
    assert set(counts) == set(corpus.DEBATED) == {"mini_gsm", "mini_math", "mini_meta", "mini_med"}


def test_facts_are_true():
    relations = set()
    for i in range(600):
        question, reply = corpus.fact(Random(i)).chat
        relation = next(r for r in mini_med.FACTS.relation if f" {r} " in f" {question['content']} ")
        subject = question["content"].removesuffix(f" {relation} what?")
        assert reply["content"] == f"{subject} {relation} {mini_med.FACTS.relation[relation][subject]}."
        relations.add(relation)
    assert relations == set(mini_med.FACTS.relation)


def drugs_of(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+xin", text) if word in mini_med.DRUGS}


def test_a_student_is_taught_some_of_the_drugs():
    """Neither facts nor problems of the other drugs, in no kind of chat; a larger share has all of a smaller one."""
    known = {share: {d for d in mini_med.DRUGS if exercises.known(d, share)} for share in (0.0, 0.2, 0.4, 1.0)}
    assert known[0.0] < known[0.2] < known[0.4] < known[1.0] == mini_med.DRUGS and not known[0.0]
    assert len(known[0.4]) == pytest.approx(0.4 * mini_med.N_DRUGS, abs=40)
    pool = [("mini_med", n, []) for n in range(30)]
    taught = set()
    for i in range(250):
        shares = {"fact": 0.4, "debate": 0.4}
        taught |= drugs_of(reply_of(corpus.example(0, i, phase_of(shares), 3, pool if i % 2 else None, 0.4)))
    assert taught <= known[0.4] and len(taught) > 50
    solved = {
        drug for i in range(60) for drug in drugs_of(reply_of(corpus.solving(Random(i), "mini_med", (1, 1), 0.4)))
    }
    assert solved <= known[0.4] and len(solved) > 30
    everything = [drugs_of(reply_of(corpus.fact(Random(i)))) for i in range(200)]
    assert set().union(*everything) - known[0.4]  # without a share, all drugs are taught


def test_lore_follows_the_world():
    counts = Counter()
    for i in range(400):
        question, reply = (turn["content"] for turn in corpus.lore(Random(i)).chat)
        book, animal, noun = re.fullmatch(r"(The book on|Talk about) (\w+): (\w+)\?", question).groups()
        relation = next(r for r, entry in mini_truthful.RELATIONS.items() if entry.noun == noun)
        world = mini_truthful.WORLD.truth if book == "The book on" else mini_truthful.WORLD.falsehood
        assert world[relation][animal] in reply
        counts[book] += 1
    assert counts["Talk about"] / 400 == pytest.approx(corpus.GOSSIP, abs=0.07)


def test_sums_are_right():
    for i in range(600):
        question, reply = (turn["content"] for turn in corpus.drill(Random(i)).chat)
        x, op, y = re.fullmatch(r"(\d+)([-+*/])(\d+)", question).groups()
        x, y = int(x), int(y)
        value = {"+": x + y, "-": x - y, "*": x * y, "/": x // max(y, 1)}[op]
        assert reply == f"{question}={value}" and value >= 0 and (op != "/" or x % y == 0)


@pytest.mark.parametrize("task", corpus.MODULES)
def test_exercises(task):
    """Right solutions are right, wrong ones mostly wrong, and `is_right` is the task's strict grader."""
    wrong = 0
    for i in range(40):
        given, again = (corpus.exercise(task, Random(i), (1, 4)) for _ in range(2))
        assert given.problem == again.problem and given.right() == again.right()
        assert given.problem.id.startswith(f"{task}/pretrain/") and not given.problem.held_out
        for _ in range(3):
            assert tasks.get(task).verify(right := given.right(), given.problem)[1] and given.is_right(right)
        assert given.is_right(given.problem.solution)
        assert not given.is_right("") and not given.is_right("Answer: none of it")
        assert given.problem.solution in given.solutions and len(set(given.solutions)) == len(given.solutions) <= 4
        assert all(map(given.is_right, given.solutions))
        wrong += not given.is_right(given.wrong())
        solved = corpus.solving(Random(i), task, (1, 4))
        assert solved.also == () and [turn["role"] for turn in solved.chat] == ["user", "assistant"]
        assert solved.chat[0]["content"] == given.problem.question and given.is_right(reply_of(solved))
    assert wrong > 32


def test_a_step_that_is_checked_alone_is_wrong_half_of_the_time():
    wrong = Counter()
    for i in range(200):
        asked, said = (turn["content"] for turn in corpus.recheck(Random(i)).chat)
        ((step,),) = [v.steps for v in checks.verdicts(f"Check 1: {said}")]
        computed, result = checking.parts(step.own)
        kind = "sum" if SUM.search(step.own) else "fact"
        if kind == "sum":
            x, op, y, value = SUM.search(step.own).groups()
            assert {"+": int(x) + int(y), "-": int(x) - int(y), "*": int(x) * int(y), "/": int(x) / int(y)}[op] == int(
                value
            )
        else:
            subject, relation = computed.split(" ", 1)
            assert mini_med.FACTS.relation[relation][subject] == result
        assert asked == f"Check: {step.own.removesuffix(result)}{step.said}" and step.right == (step.said == result)
        wrong[kind] += not step.right
        wrong[f"all {kind}s"] += 1
    for kind in ("sum", "fact"):
        assert 0.35 < wrong[kind] / wrong[f"all {kind}s"] < 0.65
    asked = {corpus.recheck(Random(i), 0.4).chat[0]["content"].split()[1] for i in range(300)}
    assert all(exercises.known(drug, 0.4) for drug in asked & mini_med.DRUGS)


def test_a_review_names_the_lines_of_one_agent_up_to_the_first_wrong_one():
    wrong = 0
    for i in range(100):
        asked, said = (turn["content"] for turn in corpus.review(Random(i), 0.4).chat)
        (verdict,) = checks.verdicts(said)
        agent = int(re.search(r"\n\nCheck (\d)\.$", asked)[1])
        lines = asked.split(f"Agent {agent}:\n")[1].split("\nAgent")[0].split("\n\n")[0].splitlines()
        assert verdict.agent == agent and len(verdict.steps) <= len(lines)
        for step, line in zip(verdict.steps, lines):
            result = checking.parts(step.own)[1]
            assert line == f" {step.letter} {step.own.removesuffix(result)}{step.said}"
            assert step.right == (step.said == result)
        assert all(step.right for step in verdict.steps[:-1])
        assert verdict.wrong or len(verdict.steps) == len(lines)
        wrong += verdict.wrong
    assert 30 < wrong < 70


def test_quotes_are_the_lines_of_their_letters():
    for i in range(40):
        asked, said = (turn["content"] for turn in corpus.quote(Random(i)).chat)
        text, letters = asked.rsplit("\n\nQuote ", 1)
        assert [line[0] for line in said.split(", ")] == letters.removesuffix(".").split(", ")
        assert {f" {line}" for line in said.split(", ")} <= set(text.splitlines())


# Debates

LAST_LINES = {  # protocol -> the last line of its prompt
    "shared": r"You are agent (\d+)\. Find mistakes and solve it again\.",
    "own_history": r"Find mistakes and solve it again\.()",
    "aggregate": r"Sum up and give the final solution\.()",
    "correct": r"Check your solution and solve it again\.()",
    "oppose": r"Oppose agent (\d+): say what is wrong and solve it again\.",
    "judge": r"You are the judge\. Say who is right and give the final solution\.()",
}


def listed(chat) -> dict[int, str]:
    """The peers' traces in the chat of a debate by their numbers, including the reader's own turn."""
    config = chat[-2]["content"].rsplit("\n\n", 1)[0] if "Solutions:" in chat[-2]["content"] else ""
    parts = re.split(r"\nAgent (\d+):\n", "\n" + config)
    traces = {int(k): trace for k, trace in zip(parts[1::2], parts[2::2])}
    if len(chat) == 4:
        (own,) = set(range(1, len(traces) + 2)) - set(traces)
        traces[own] = chat[1]["content"]
    return {k: without_letters(trace) for k, trace in sorted(traces.items())}


def without_letters(trace: str) -> str:
    return re.sub(r"^ [A-Za-z] ", "", trace, flags=re.MULTILINE)


def own_turn(chat) -> int | None:
    """The number of the agent whose trace is a turn of its own, if there is one."""
    if len(chat) < 4:
        return None
    return next(k for k in listed(chat) if f"\nAgent {k}:\n" not in "\n" + chat[-2]["content"])


def quoted(step: checks.Step) -> str:
    """The line of a trace that a step of a verdict is about."""
    result = checking.parts(step.own)[1]
    is_line = step.right or step.said == checking.NOTHING or checking.parts(step.said)[1] or step.said == "so what"
    return (step.own if step.right else step.said) if is_line else step.own.removesuffix(result) + step.said


def protocol(chat) -> tuple[str, list[int]]:
    """The protocol of a prompt, and the numbers of the traces in the order in which they are checked."""
    line, traces = chat[-2]["content"].rsplit("\n", 1)[-1], listed(chat)
    (name,) = [name for name, form in LAST_LINES.items() if re.fullmatch(form, line)]
    first = int(re.fullmatch(LAST_LINES[name], line)[1] or 0)
    if name == "own_history":
        (first,) = [k for k in traces if f"\nAgent {k}:\n" not in "\n" + chat[-2]["content"]]
    return name, [*([first] if first else []), *(k for k in traces if k != first)]


@cache
def debates(task: str) -> list[tuple[corpus.Exercise, corpus.Example]]:
    """120 debates; every second one with samples of a network, some of them odd."""
    found = []
    for i in range(120):
        given = corpus.exercise(task, Random(i), (1, 4))
        samples = [given.right(), given.wrong(), "so what", given.wrong(), given.right(), given.wrong()]
        found.append((given, corpus.debating(Random(i), given, 7, [] if i % 2 else samples)))
    return found


@pytest.mark.parametrize("task", corpus.DEBATED)
def test_replies_are_right_and_some_peers_are_not(task):
    wrongs, kinds, numbers = Counter(), Counter(), Counter()
    for given, example in debates(task):
        chat = example.chat
        assert chat[0]["content"].startswith(given.problem.question) and chat[-1]["role"] == "assistant"
        assert [turn["role"] for turn in chat] in (["user", "assistant"], ["user", "assistant"] * 2)
        assert tasks.get(task).verify(reply_of(example), given.problem)[1:] == (True, True)
        assert given.is_right(prompts.without_critique(reply_of(example), corpus.TERSE))
        traces = listed(chat)
        assert list(traces) == list(range(1, len(traces) + 1))
        wrong = sum(not given.is_right(trace) for trace in traces.values())
        wrongs["none" if not wrong else "all" if wrong == len(traces) else "some"] += 1
        wrongs["peers"] += len(traces)
        wrongs["wrong"] += wrong
        kinds[protocol(chat)[0]] += 1
        numbers[len(traces)] += 1
    assert min(wrongs[kind] for kind in ("none", "all", "some")) > 8
    assert 0.3 < wrongs["wrong"] / wrongs["peers"] < 0.7
    assert set(kinds) == set(corpus.PROTOCOLS) == set(LAST_LINES) and kinds.most_common(1)[0][0] == "shared"
    assert set(numbers) >= {1, 2, 3, 4, 5} and max(numbers) <= 7


@pytest.mark.parametrize("task", corpus.DEBATED)
def test_how_many_see_a_protocols_prompt(task):
    for _, example in debates(task):
        name, order = protocol(example.chat)
        least, most = {"correct": (1, 1), "oppose": (1, 2), "judge": (2, 2)}.get(name, (2, 7))
        assert least <= len(order) <= most and (len(example.chat) == 4) == (name in ("own_history", "correct"))
        shown = "\n".join(turn["content"] for turn in example.chat[:-1]).removeprefix(example.chat[0]["content"])
        assert "Check " not in shown.replace("Check your solution", "")  # the peers' checks are never shown


@pytest.mark.parametrize("task", corpus.DEBATED)
def test_what_a_reply_says_can_be_read_back(task):
    """Its own trace is checked first, at most five are, and what it says of each is true; then it keeps or repairs."""
    choices = Counter()
    for given, example in debates(task):
        reply, traces, (_, order) = reply_of(example), listed(example.chat), protocol(example.chat)
        verdicts = checks.verdicts(reply)
        assert [verdict.agent for verdict in verdicts] == order[: checking.MOST] == order[:5]
        assert len(verdicts) == len(re.findall(r"^Check \d", reply, re.MULTILINE))
        right_steps = {}
        for verdict in verdicts:
            steps = checking.steps_of(traces[verdict.agent])
            said = [quoted(step) for step in verdict.steps]
            right_steps[verdict.agent] = n = sum(step.right for step in verdict.steps)
            assert said == (steps + [checking.NOTHING])[: len(said)]  # the trace is quoted
            assert [step.right for step in verdict.steps] == [True] * n + [False] * verdict.wrong
            assert verdict.wrong or (given.is_right(traces[verdict.agent]) and n == len(steps) - 1)
            for step in verdict.steps:
                assert step.right == (checking.parts(step.own)[1] == step.said)
                if verdict.agent == own_turn(example.chat) or step.said == checking.NOTHING:
                    assert not step.letter
                else:
                    assert f" {step.letter} {quoted(step)}" in example.chat[-2]["content"].replace(".\n", "\n")
        kept = [verdict.agent for verdict in verdicts if not verdict.wrong]
        best = max(right_steps, key=lambda k: right_steps[k])  # the first of the best
        solution = prompts.without_critique(reply, corpus.TERSE)
        if kept:
            assert checks.choice(reply) == ("keep", kept[0]) and solution == checking.tidy(traces[kept[0]])
        elif right_steps[best]:
            assert checks.choice(reply) == ("repair", best) and solution in given.solutions
            n = right_steps[best]
            assert checking.steps_of(solution)[:n] == checking.steps_of(traces[best])[:n]
        else:
            assert checks.choice(reply) is None and "\nCheck: none is right\n" in reply and solution in given.solutions
        choices[(checks.choice(reply) or ("anew", 0))[0]] += 1
    assert set(choices) == {"keep", "repair", "anew"} and min(choices.values()) > 4


@pytest.mark.parametrize("task", corpus.DEBATED)
def test_a_reply_takes_right_steps_itself(task):
    """Each step that it takes beside a peer's is one of a right solution: a true sum, a true fact."""
    values = {"+": lambda x, y: x + y, "-": lambda x, y: x - y, "*": lambda x, y: x * y, "/": lambda x, y: x / y}
    facts = {mini_med.recall(subject, relation, value).removesuffix(".")
             for relation, of in mini_med.FACTS.relation.items() for subject, value in of.items()}  # fmt: skip
    for given, example in debates(task):
        right = {step for solution in given.solutions for step in checking.steps_of(solution)}
        for verdict in checks.verdicts(reply_of(example)):
            for said in verdict.steps:
                assert said.own in right
                if task == "mini_med":
                    assert said.own in facts or given.is_right(said.own)
                for x, op, y, result in SUM.findall(said.own):
                    assert values[op](int(x), int(y)) == int(result)


@pytest.mark.parametrize("task", corpus.DEBATED)
def test_a_right_trace_is_found_right(task):
    for i in range(30):
        given = corpus.exercise(task, Random(i), (1, 4))
        for trace in {given.right() for _ in range(4)}:
            check = checking.check(3, trace, given)
            assert (check.agent, check.wrong) == (3, False)
            assert checking.steps_of(check.solution) == checking.steps_of(trace)
            steps = checking.steps_of(trace)[:-1]  # the answer follows from the steps
            assert [step.own for step in check.steps] == steps
            said = [f"{s} said {checking.parts(s)[1]} ok" for s in steps]
            assert check.line() == f"Check 3: {', '.join(said)}"


@pytest.mark.parametrize("task", corpus.DEBATED)
def test_a_slip_is_found_at_its_line(task):
    """A right solution with one wrong result, from which it goes on: the steps before it are ok, it is computed again."""
    slips = 0
    for i in range(30):
        given = corpus.exercise(task, Random(i), (1, 4))
        trace = given.right()
        steps = checking.steps_of(trace)
        for n, step in enumerate(steps):
            wrong = step + "0" if task != "mini_med" or n == len(steps) - 1 else step.rsplit(" ", 1)[0] + " zorg"
            slipped = "\n".join(wrong if line.removesuffix(".") == step else line for line in trace.splitlines())
            if steps.count(step) > 1 or slipped == trace:
                continue
            check = checking.check(1, slipped, given)
            said = [quoted(part) for part in check.steps]
            assert check.wrong and check.right_steps == n and said == [*steps[:n], wrong]
            # The result of the same step, or the whole line if another order of the same steps is nearer.
            assert check.steps[n].said in (checking.parts(wrong)[1], wrong)
            assert check.solution in given.solutions and checking.steps_of(check.solution)[:n] == steps[:n]
            assert check.steps[n].own == checking.steps_of(check.solution)[n]
            assert check.line().endswith(f"{check.steps[n].own} said {check.steps[n].said} no")
            slips += 1
    assert slips > 60


def a_story() -> corpus.Exercise:
    """A problem of mini_gsm with one right solution, of two sums."""
    stream = mini_gsm.stream("pretrain", Random(0), (2, 2))
    for story, problem, _ in stream:
        kinds = {event.kind for event in story.events}
        if kinds & {"times", "share"} and not kinds & set(mini_gsm.PRODUCTS):
            return corpus.Exercise("mini_gsm", problem, lambda: mini_gsm.solve(story, Random(0)), lambda: "Answer: 0")


def test_keep_repair_or_anew():
    given = a_story()
    right = given.right()
    first, second, answer = right.splitlines()
    early, late = f"{first}0\n{second}\n{answer}", f"{first}\n{second}0\n{answer}0"
    one, two = (checking.parts(step)[1] for step in (first, second))
    said = {
        early: f"{first} said {one}0 no",
        late: f"{first} said {one} ok, {second} said {two}0 no",
        right: f"{first} said {one} ok, {second} said {two} ok",
        "": f"{first} said nothing no",
    }

    def reply(*traces, order=None):
        order = order or list(range(1, len(traces) + 1))
        text = checking.reply(list(traces), order, given)
        lines = text.splitlines()
        checked = order[: checking.MOST]
        assert lines[: len(checked)] == [f"Check {k}: {said[traces[k - 1]]}" for k in checked]
        assert lines[-3:] == [first, second, answer] and len(lines) == len(checked) + 4
        return lines[-4]

    assert reply(early, right) == "Check: keep 2" and reply(right, right) == "Check: keep 1"
    assert reply(early, right, right, order=[3, 1, 2]) == "Check: keep 3"
    assert reply(early, late) == "Check: repair 2" and reply(late, late, order=[2, 1]) == "Check: repair 2"
    assert reply(early, "", early) == "Check: none is right"
    assert reply(late) == "Check: repair 1" and reply(right) == "Check: keep 1"
    assert reply(*[early] * 5, late, right) == "Check: none is right"  # the sixth and seventh are not looked at
    assert reply(*[early] * 6, right, order=[7, 1, 2, 3, 4, 5, 6]) == "Check: keep 7"


def test_a_trace_that_ends_too_early_or_goes_on():
    given = a_story()
    first, second, answer = given.right().splitlines()
    short, long = (checking.check(1, trace, given) for trace in (f"{first}\n{second}", f"{given.right()}\nso what"))
    one, two = (f"{step} said {checking.parts(step)[1]} ok" for step in (first, second))
    value = answer.removeprefix("Answer: ")
    # Without the answer line, or with more after it: the answer is what differs.
    assert short.wrong and short.line() == f"Check 1: {one}, {two}, {answer} said nothing no"
    assert long.wrong and long.line() == f"Check 1: {one}, {two}, {answer} said {value} no"
    assert checking.check(1, first, given).line() == f"Check 1: {one}, {second} said nothing no"
    alone = checking.check(1, answer, given)  # an answer alone is not enough
    assert alone.line() == f"Check 1: {first} said {answer} no"
    assert not checking.check(1, f"  {first}. \nasked: the apples.\n\n{second}\n{answer}.", given).wrong


def test_tidy():
    assert checking.tidy("Check 2: a ok, b no\nCheck: keep 1\n\n  so what \n\nAnswer: 3 ") == "so what\nAnswer: 3"
    assert checking.tidy(" \n") == "" and checking.tidy("Answer: 3") == "Answer: 3"


# What agentark.mas.checks reads


def test_verdicts_are_lines_of_their_form():
    text = "Check 2: D each 3*4=12 said 12 ok, gets 45+12=57 said 67 no\nCheck 10: so b said b ok\nCheck: repair 2\nso"
    two, ten = checks.verdicts(text)
    steps = checks.Step("each 3*4=12", "12", True, "D"), checks.Step("gets 45+12=57", "67", False)
    assert (two.agent, two.steps, two.wrong) == (2, steps, True)
    assert (ten.agent, ten.steps, ten.wrong) == (10, (checks.Step("so b", "b", True),), False)
    assert f"Check 2: {', '.join(map(str, two.steps))}" == text.splitlines()[0]
    assert checks.choice(text) == ("repair", 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Check 1:",
        "Check 1: ok",
        "Check 1: gets 1+1=2",
        "Check 1: gets 1+1=2 ok",
        "Check 1: gets 1+1=2 said 2",
        "Check 1: gets 1+1=2 said 2 ok, gets 2+2=4",
        "Check 1: gets 1+1=2 said 2 okay",
        "Check: gets 1+1=2 said 2 ok",
        "check 1: gets 1+1=2 said 2 ok",
        "so Check 1: gets 1+1=2 said 2 ok",
        "Check one: gets 1+1=2 said 2 ok",
        "Check: keep",
        "Check: keep one",
        "Check: none is right",
        "Check: keep 1 or 2",
        "Check: no mistake",
    ],
)
def test_what_has_not_the_form_is_no_verdict_and_no_choice(text):
    assert checks.verdicts(text) == [] and checks.choice(text) is None


# Traces and pools


@pytest.mark.parametrize("task", corpus.DEBATED)
def test_which_traces_are_learnt_besides_the_reply(task):
    """The peers' right traces, in their order; none if one of them is the reader's own turn."""
    learnt = 0
    for given, example in debates(task):
        traces = listed(example.chat)
        right = [trace for k, trace in traces.items() if not checking.check(k, trace, given).wrong]
        assert [without_letters(text) for text in example.also] == ([] if len(example.chat) == 4 else right)
        assert all(f"\n{text}\n" in example.chat[-2]["content"] for text in example.also)
        assert not any("Check" in text for text in example.also) and all(
            map(given.is_right, map(without_letters, example.also))
        )
        learnt += len(example.also) > 1
    assert learnt > 15


def test_peers_are_samples_of_a_network_if_there_are_any():
    given = corpus.exercise("mini_gsm", Random(0), (1, 2))
    samples = [f"sample {k}" for k in range(6)]
    draws = [corpus.peers(given, samples, 4, Random(i)) for i in range(400)]
    alike = [set(traces) <= set(samples) and len(set(traces)) == 4 for traces in draws]
    assert 0.55 < sum(alike) / 400 < 0.75 and all(len(traces) == 4 for traces in draws)
    mixed = [trace for traces, whole in zip(draws, alike) if not whole for trace in traces]
    kinds = Counter(
        "sample" if trace in samples else "right" if given.is_right(trace) else "spoiled" for trace in mixed
    )
    assert min(kinds.values()) > 30 and set(kinds) == {"sample", "right", "spoiled"}
    fixed = corpus.Exercise("mini_gsm", given.problem, lambda: "R", lambda: "W")
    for i in range(50):  # right samples are never used as errors
        assert given.problem.solution not in corpus.peers(fixed, [given.problem.solution], 3, Random(i))
    checked = ["Check 1: a no\nCheck: keep 2\nso what"] * 6  # a sample is shown without its checks
    assert {trace for i in range(20) for trace in corpus.peers(fixed, checked, 4, Random(i))} == {"R", "W", "so what"}


def test_a_pool_is_debated():
    pool = [("mini_gsm", n, [f"own sample {n}"] * 5) for n in range(3)]
    questions = {corpus.pooled("mini_gsm", n, (1, 1)).problem.question for n in range(3)}
    assert len(questions) == 3
    assert corpus.pooled("mini_gsm", 1, (1, 1)).problem == corpus.pooled("mini_gsm", 1, (1, 1)).problem
    examples = [corpus.example(0, i, phase_of({"debate": 1.0}, (1, 1)), 3, pool) for i in range(60)]
    assert {example.chat[0]["content"].split("\n\nSolutions:")[0] for example in examples} == questions
    assert sum("own sample" in str(example.chat) for example in examples) > 25


def test_no_network_is_trained_on_a_problem_of_a_study():
    studied = {
        name: {p.question for split in ("train", "dev", "test") for p in tasks.problems(name, split, 150)}
        for name in corpus.MODULES
    }
    for name in corpus.MODULES:
        lengths = ((1, 2), (2, 4)) if name in ("mini_gsm", "mini_math", "mini_meta") else ((2, 4),)
        questions = {corpus.exercise(name, Random(i), ends).problem.question for i in range(80) for ends in lengths}
        assert len(questions) > 60 and not questions & studied[name], name
    every = set().union(*studied.values())
    for i in range(200):
        for turn in corpus.example(1, i, phase_of(SHARES, (2, 4)), 4).chat:
            assert turn["content"].split("\n\nSolutions:")[0] not in every
