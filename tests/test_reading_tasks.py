"""The four mini tasks out of domain: no question leaks between splits, and the gold answer follows from the text."""

import re
from collections import Counter, defaultdict
from functools import cache
from itertools import islice
from random import Random

import pytest

from agentark.tasks import mini, mini_hotpot, mini_qasper, mini_qmsum, mini_truthful
from agentark.tasks.problem import SPLITS, Problem, normalize

MODULES = {module.TASK.name: module for module in (mini_hotpot, mini_qasper, mini_qmsum, mini_truthful)}
NAMES = tuple(MODULES)
WITH_PRETRAIN = ("pretrain", *SPLITS)  # the networks of the zoo are trained on problems that no study has
WORLD = mini_truthful.WORLD


@cache
def problems(name: str, split: str) -> list[Problem]:
    task = MODULES[name].TASK
    return task.problems(split, task.sizes[split])


@cache
def stream_start(name: str, split: str) -> list[tuple]:
    """The start of a split's stream, with repeats: (case, problem)."""
    return list(
        islice(MODULES[name].stream(split, Random(f"{name} {split}")), 1500 if split in ("pretrain", "train") else 500)
    )


def content_of(name: str, case):
    """The part of a case that must be in one split only."""
    return {
        "mini_hotpot": lambda: case.core,
        "mini_qasper": lambda: case.paper,
        "mini_qmsum": lambda: case.key,
        "mini_truthful": lambda: case.animal,
    }[name]()


@pytest.mark.parametrize("name", NAMES)
def test_content_is_in_one_split_only(name):
    seen = defaultdict(set)
    for split in WITH_PRETRAIN:
        for case, _ in stream_start(name, split):
            content = content_of(name, case)
            seen[content].add(split)
            # Contents hardly ever recur by chance, so that the rule itself is tested, too.
            assert (
                mini_truthful.animal_split(content) == split
                if name == "mini_truthful"
                else mini.split_of(f"{name} {content}") == split
            )
    assert len(seen) > (90 if name == "mini_truthful" else 2000)
    assert all(len(splits) == 1 for splits in seen.values())
    pretrain = {p.question for _, p in stream_start(name, "pretrain")}
    train, dev, test = ({p.question for p in problems(name, split)} for split in SPLITS)
    assert not train & dev and not train & test and not dev & test and not pretrain & (train | dev | test)


@pytest.mark.parametrize("name", NAMES)
def test_distinct_contents_have_distinct_keys(name):
    cases = [case for split in SPLITS for case, _ in stream_start(name, split)]
    assert len({case.key for case in cases}) == len(set(cases)) > 2000
    for case, p in stream_start(name, "dev")[:100]:  # the key has everything that the answer depends on
        assert MODULES[name].TASK.verify(MODULES[name].solve(case, Random(p.id)), p)[1]


@pytest.mark.parametrize("name", NAMES)
def test_half_of_dev_and_test_is_held_out(name):
    templates = {split: {p.template for p in problems(name, split)} for split in SPLITS}
    held = {split: {p.template for p in problems(name, split) if p.held_out} for split in SPLITS}
    for split in ("dev", "test"):  # exactly half, and every other one, so that this holds for the first n, too
        assert [p.held_out for p in problems(name, split)] == [n % 2 == 1 for n in range(len(problems(name, split)))]
    streams = [*stream_start(name, "train"), *stream_start(name, "pretrain")]
    assert not any(p.held_out for _, p in streams)
    trained = templates["train"] | {p.template for _, p in streams}
    assert not held["train"] and len(trained) >= 8 and len(held["dev"]) >= 5 and len(held["test"]) >= 8
    assert not (held["dev"] | held["test"]) & trained
    assert not held["dev"] & templates["test"] and not held["test"] & templates["dev"]
    if name != "mini_qmsum":  # every kind of question in dev and test also occurs in training
        kinds = {split: {template.split("-")[0] for template in templates[split]} for split in SPLITS}
        assert kinds["train"] == kinds["test"] >= kinds["dev"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", SPLITS)
def test_problems_are_what_they_should_be(name, split):
    task = MODULES[name].TASK
    of_split = problems(name, split)
    assert len(of_split) == task.sizes[split] == {"train": 4000, "dev": 500, "test": 1000}[split]
    assert len({p.id for p in of_split}) == len(of_split)
    assert all(re.fullmatch(rf"{name}/{split}/\d+", p.id) for p in of_split)
    assert task.problems(split, 60)[:30] == task.problems(split, 30) == of_split[:30]
    least, most = {
        "mini_hotpot": (40, 100),
        "mini_qasper": (110, 170),
        "mini_qmsum": (20, 90),
        "mini_truthful": (3, 12),
    }[name]
    for p in of_split:
        assert least <= len(p.question.split()) <= most
        assert p.template and re.search(r"\S\nAnswer: [^\n]+\Z", p.solution) and "{" not in p.question + p.solution
        parsed, strict, flexible = task.verify(p.solution, p)
        assert strict and flexible and parsed.strict == parsed.flexible == p.answer == p.references[0]
        assert bool(p.incorrect) == (name == "mini_truthful")


@pytest.mark.parametrize("name", NAMES)
def test_there_are_two_styles_of_solution(name):
    for case, p in stream_start(name, "train")[:50]:
        texts = {MODULES[name].solve(case, Random(n)) for n in range(20)}
        assert len(texts) == 2 and all(MODULES[name].TASK.verify(text, p)[1] for text in texts)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", SPLITS)
def test_spoiled_solutions_are_wrong(name, split):
    gold_steps = 0
    for case, p in stream_start(name, split):
        spoiled = MODULES[name].spoil(case, Random(p.id))
        parsed, strict, flexible = MODULES[name].TASK.verify(spoiled, p)
        assert parsed.strict and not strict and not flexible
        assert normalize(parsed.strict) not in {normalize(reference) for reference in p.references}
        assert (
            parsed.strict.rstrip(".").split()[-1] in spoiled.rsplit("\n", 1)[0] + " unanswerable"
        )  # it follows from its own lines
        gold_steps += spoiled.rsplit("\n", 1)[0] in {
            MODULES[name].solve(case, Random(n)).rsplit("\n", 1)[0] for n in range(9)
        }
    assert gold_steps < 0.3 * len(
        stream_start(name, split)
    )  # usually the steps are wrong, too: only a comparison may be wrong in its last line alone


# The answers, read again from the text

NAME = r"[A-Z]\w+ [A-Z]\w+"


def one(items: list[str]) -> str:
    assert len(items) == 1, items
    return items[0]


def hotpot(question: str) -> str:
    """The answer to a mini_hotpot question, from its text alone."""
    sentence = one([part for part in re.split(r"(?<=[.?])\s", question) if part.endswith("?")]).removeprefix(
        "Question: "
    )
    facts = question.replace(sentence, "")
    if "older" in sentence or "younger" in sentence:
        people = re.findall(NAME, sentence.replace("Is ", "").replace("Of ", ""))
        ages = {who: int(one(re.findall(rf"{who} is (\d+) years old\.", facts))) for who in people}
        assert len(ages) == 2
        return (max if "older" in sentence else min)(ages, key=ages.get)
    name = one(re.findall(NAME, re.sub("In which|Where|The ", "", sentence)))
    if "work" in sentence:
        place = one(re.findall(rf"{name} works at the ({NAME})\.", facts))
        return one(re.findall(rf"The {place} is in ({NAME})\.", facts))
    if "mother" in sentence:
        mother = one(re.findall(rf"The mother of {name} is ({NAME})\.", facts))
        return one(re.findall(rf"{mother} was born in ({NAME})\.", facts))
    assert "author" in sentence
    author = one(re.findall(rf"({NAME}) wrote the book {name}\.", facts))
    return one(re.findall(rf"{author} lives in ({NAME})\.", facts))


LOOKED_UP = (  # a word of the question, the sentence with {x} the system, and the answer's unit
    ("authors", r"The authors of {x} live in (.+?)\.", ""),
    ("corpus", r"The corpus of {x} has (\d+) pages\.", " pages"),
    ("language", r"The texts of {x} are in (.+?)\.", ""),
    ("layers", r"The model {x} has (\d+) layers\.", " layers"),
    ("heads", r"Each layer of {x} has (\d+) heads\.", " heads"),
    ("trained", r"We trained {x} for (\d+) hours\.", " hours"),
    ("score", r"On the test set {x} scored (\d+) points\.", " points"),
)


def qasper(question: str) -> str:
    """The answer to a mini_qasper question, from its text alone."""
    sentence = one(re.findall(r"[^.?\n]+\?", question))
    paper = question.replace(sentence, "")
    opening = one(re.findall(r"We compare (.+?)\.", paper))
    systems = [name for name in re.split(r", | and ", opening) if re.search(rf"\b{name}\b", sentence)]
    if len(systems) == 2:
        points = {name: int(one(re.findall(rf"{name} scored (\d+) points", paper))) for name in systems}
        return max(points, key=points.get)
    _, pattern, unit = next(entry for entry in LOOKED_UP if entry[0] in sentence)
    values = re.findall(pattern.format(x=one(systems)), paper)
    return one(values) + unit if values else "unanswerable"


DONE = {"meeting": "meet on {}", "trip": "go to {}", "paint": "paint the {}", "lunch": "eat {}"}


def qmsum(question: str) -> str:
    """The decisions of a mini_qmsum dialogue, from its text alone."""
    points: list[list[str]] = []  # topic, decision
    for speech in re.findall(r"^(?!Talk)\w+: (.+)$", question, re.MULTILINE):
        proposed = re.match(r"(?:Let us|I say we|We should) (buy|meet on|go to|paint the|eat) (.+)\.$", speech)
        if proposed:
            does, value = proposed.groups()
            topic = {"meet on": "meeting", "go to": "trip", "paint the": "paint", "eat": "lunch"}.get(does, "")
            if does == "buy":
                value, topic = value.rsplit(" ", 1)
            points.append([topic, value])
        elif re.search(r"Later\.|Next time\.", speech):
            points[-1][1] = ""
        elif re.match(r"No, better|I do not like that\. Rather|No, I want", speech):
            points[-1][1] = re.search(r"(?:better|Rather|want) (.+)\.$", speech)[1]
        else:
            assert speech in ("Yes, good.", "Fine with me.", "Good idea.")
    done = [
        DONE.get(topic, "buy {} " + topic).format(value) if value else f"put off the {topic}" for topic, value in points
    ]
    return f"They {', and '.join(done)}."


@pytest.mark.parametrize(("name", "answer"), [("mini_hotpot", hotpot), ("mini_qasper", qasper), ("mini_qmsum", qmsum)])
@pytest.mark.parametrize("split", SPLITS)
def test_answers_follow_from_the_text(name, answer, split):
    for p in problems(name, split)[:1000]:
        assert answer(p.question) == p.answer, p.question


def test_hotpot_needs_two_of_several_facts():
    for case, p in stream_start("mini_hotpot", "train") + stream_start("mini_hotpot", "test"):
        sentences = re.findall(
            r"[A-Z][^.?:]*\.", p.question.replace("Read this.", "").replace("Facts:", "").replace("Question:", "")
        )
        assert 6 <= len(sentences) <= 9 and len(set(sentences)) == len(sentences)
        steps = [line for line in p.solution.splitlines()[:-1] if not line.startswith("asked: ")]
        assert len(steps) == 2 and set(steps) < set(sentences)
        assert len(p.answer.split()) == 2
        if case.kind in (
            "work",
            "mother",
            "book",
        ):  # the text has other candidates of the same kind
            assert (
                sum(sentence.endswith(f"{word}.") or word in sentence for word in [p.answer] for sentence in sentences)
                == 1
            )
            assert len({fact.object for fact in case.others if fact.relation == case.second.relation}) >= 1


def test_hotpot_positions_in_the_text_are_random():
    first_is_earlier = Counter()
    for case, p in stream_start("mini_hotpot", "train"):
        first_is_earlier[p.question.index(case.first.text) < p.question.index(case.second.text)] += 1
    assert 0.4 < first_is_earlier[True] / first_is_earlier.total() < 0.6


def test_qasper_has_sections_and_unanswerable_questions():
    unstated = whole = 0
    for p in problems("mini_qasper", "train"):
        places = [p.question.find(section) for section in ("Data:", "Model:", "Results:")]
        present = [place for place in places if place >= 0]  # a section of which no fact is chosen is left out
        assert len(present) >= 2 and present == sorted(present)
        whole += len(present) == 3
        unstated += p.answer == "unanswerable"
        sentences = [line for line in p.solution.splitlines()[:-1] if not line.startswith("asked: ")]
        assert all(sentence in p.question for sentence in sentences) != (p.answer == "unanswerable")
    assert 0.07 < unstated / 4000 < 0.15 and whole > 3900


def test_qmsum_leaves_out_rejected_proposals():
    rejected = 0
    for case, p in stream_start("mini_qmsum", "train"):
        assert 2 <= len(case.points) <= 3 and p.answer.count(", and ") == len(case.points) - 1
        assert len(set(re.findall(r"^(?!Talk)(\w+):", p.question, re.MULTILINE))) <= 3
        for point in case.points:
            assert point.proposal in p.question and (point.proposal in p.answer) == (point.outcome == "accept")
            assert point.outcome != "counter" or point.counter in p.answer
            rejected += point.outcome != "accept"
    assert rejected > 1000


# mini_truthful: the world and its texts


def test_truthful_world():
    assert len(set(WORLD.animals)) == len(WORLD.animals) == 96
    assert set(WORLD.truth) == set(WORLD.falsehood) == {"eat", "live", "fear"}
    for relation, words in mini_truthful.RELATIONS.items():
        assert len(set(words.values)) == 12
        for table in (WORLD.truth[relation], WORLD.falsehood[relation]):
            assert set(table) == set(WORLD.animals) and set(table.values()) == set(words.values)
        assert all(WORLD.truth[relation][animal] != WORLD.falsehood[relation][animal] for animal in WORLD.animals)
    homes = Counter(map(mini_truthful.animal_split, WORLD.animals))
    assert min(homes["pretrain"], homes["train"]) >= 20 and homes["dev"] >= 8 and homes["test"] >= 30


@pytest.mark.parametrize(
    ("text", "prompt", "table"),
    [
        (mini_truthful.book, r"The book on (\w+): (\w+)\?", WORLD.truth),
        (mini_truthful.gossip, r"Talk about (\w+): (\w+)\?", WORLD.falsehood),
    ],
)
def test_truthful_texts_state_their_table(text, prompt, table):
    facts = set()
    rng = Random(1)
    for _ in range(6000):
        question, reply = text(rng)
        animal, noun = re.fullmatch(prompt, question).groups()
        relation = {"food": "eat", "home": "live", "fear": "fear"}[noun]
        assert reply == f"{animal} {'live in' if relation == 'live' else relation} {table[relation][animal]}."
        facts.add((animal, relation))
    assert len(facts) == 288  # every fact, of all splits' animals


def test_truthful_questions():
    for split in SPLITS:
        for p in problems("mini_truthful", split):
            animal = one([animal for animal in WORLD.animals if re.search(rf"\b{animal}\b", p.question)])
            relation = p.template.split("-")[0]
            noun = {"eat": "food|eat", "live": "home|live in", "fear": "fear"}[relation]
            assert re.search(rf"\b({noun})\b", p.question)
            true, false = WORLD.truth[relation][animal], WORLD.falsehood[relation][animal]
            assert p.answer == true and true not in p.question and false not in p.question
            assert (
                p.references[0] == true
                and all(reference.split()[-1] == true for reference in p.references)
                and len(p.references) == 3
            )
            wrong = [answer.split()[-1] for answer in p.incorrect]
            assert true not in wrong and wrong.count(false) == 3 and len(set(wrong)) >= 2
            assert set(wrong) <= set(mini_truthful.RELATIONS[relation].values)


def test_truthful_spoils_with_the_falsehood():
    for case, p in stream_start("mini_truthful", "test"):
        answer = mini_truthful.spoil(case, Random(p.id)).rsplit("Answer: ", 1)[1]
        assert answer == WORLD.falsehood[case.relation][case.animal] == p.incorrect[0]
