"""The zoo's cards: what is measured, counted by hand; a killed run resumes; the page has every number."""

import copy
import json

import pytest
import torch
import yaml

from agentark import engines, pictures, stats, tasks
from agentark.engines import Completion
from agentark.mas import votes
from agentark.models import load
from agentark.tasks import Problem, mini
from agentark.zoo import card, debater, gold, measuring, seeing, speed, ways
from agentark.zoo.checking import reply
from agentark.zoo.corpus import Example
from agentark.zoo.exercises import DEBATED, MODULES, known
from agentark.zoo.measuring import Network, Section, share
from agentark.zoo.packing import encode
from agentark.zoo.page import page

SOLVING = {"steps": 3, "shares": {"drill": 1.0}, "lengths": [1, 2]}
TRAINED = {
    "name": "net",
    "role": "student Net",
    "architecture": "NetForCausalLM",
    "parameters": 123456,
    "known_drugs": 0.4,
    "phases": [SOLVING],
    "steps": 3,
    "tokens": 3_000_000,
    "seed": 0,
    "hours": 0.5,
    "pieces": 2,
    "tokens_per_second": 1234,
    "threads": 1,
    "matmul_share": 0.125,
    "machine": "a machine",
}
SEES = {**TRAINED, "phases": [{**SOLVING, "shares": {"picture": 0.5}}]}
TEACHER = {**TRAINED, "role": "teacher Net", "phases": [{**SOLVING, "shares": {"debate": 0.5}}]}
COMMON = {"seed": 0, "tokens": 512, "block": 256, "max_peers": 3, "weight_decay": 0.0, "bf16": False}
SETTINGS = {
    "problems": 6,
    "temperature": 0.8,
    "debated": 4,
    "gold": {"learning_rate": {8: 1e-3}, "epochs": 2},
    "common": COMMON,
}


class Oracle:
    """Replies with the gold solution of the problem that it is asked, or shown the traces of.

    Sampled, every second reply to a question alone is wrong, and half as likely.
    """

    def __init__(self):
        self.calls = []
        self.gold = {}
        for name in MODULES:
            for split in ("dev", "train", "pretrain") if name in DEBATED else ("dev",):
                self.gold |= {p.question: p.solution for p in measuring.problems_of(name, split, 6)}

    def generate(self, chats, sampling, seed):
        self.calls.append((chats, sampling, seed))
        replies = []
        for n, chat in enumerate(chats):
            question = chat[0]["content"].split("\n\nSolutions:")[0]
            wrong = sampling.temperature and len(chat) == 1 and question == chat[0]["content"] and n % 2
            text = "Answer: -5" if wrong else self.gold[question]
            replies.append(Completion(text, (1,), "stop", 1, 0, 1, (-0.7 if wrong else 0.0,)))
        return replies


@pytest.fixture(autouse=True)
def few_dev_problems(monkeypatch):
    """Chance is counted on 40 problems of dev instead of all: making them takes most of the time."""
    monkeypatch.setitem(mini.SIZES, "dev", 40)
    measuring.dev_chance.cache_clear()
    yield
    measuring.dev_chance.cache_clear()


@pytest.fixture
def oracle(monkeypatch):
    engine = Oracle()
    monkeypatch.setattr(engines, "make", lambda name, config: engine)
    return engine


# The scores


@pytest.mark.parametrize("name", MODULES)
def test_gold_solutions_score_in_full(oracle, tmp_path, name):
    scores = card.measure(Network(tmp_path, TRAINED), name, SETTINGS)
    full = {"value": 1.0, "n": 6, **dict(zip(("low", "high"), (round(x, 4) for x in stats.wilson(6, 6)), strict=True))}
    assert scores["greedy"]["dev"]["all"] == full and scores["unread"]["value"] == 0
    assert list(scores["greedy"]) == (["dev", "train", "pretrain"] if name in DEBATED else ["dev"])
    assert all(groups["all"]["value"] == 1 for groups in scores["greedy"].values())
    assert ("sampled" in scores) == (name in DEBATED) and 0 <= scores["chance"] < 0.8
    if name in DEBATED:
        assert scores["sampled"]["dev"]["all"]["value"] == 0.5
    assert [sampling.temperature for _, sampling, _ in oracle.calls] == ([0, 0, 0, 0.8] if name in DEBATED else [0])


def problem(n, answer="1", lines=2, **more):
    return Problem(f"mini_gsm/dev/{n}", f"q{n}", answer, "\n".join(["x"] * lines + [f"Answer: {answer}"]), **more)


def test_groups_by_hand():
    problems = [problem(0), problem(1, lines=3, held_out=True), problem(2, lines=3)]
    groups = card.by_group(problems, [1.0, 0.0, 1.0], {"known_drugs": 0.4})
    assert {label: (entry["value"], entry["n"]) for label, entry in groups.items()} == {
        "all": (0.6667, 3),
        "2 steps": (1.0, 1),
        "3 steps": (0.5, 2),
        "held-out templates": (0.0, 1),
        "seen templates": (1.0, 2),
    }


def test_known_drugs():
    problems = tasks.problems("mini_med", "dev", 40)
    scores = [float(known(p.cluster.split()[0], 0.4)) for p in problems]
    groups = card.by_group(problems, scores, {"known_drugs": 0.4})
    assert groups["known drugs"]["value"] == 1 and groups["unknown drugs"]["value"] == 0
    assert groups["known drugs"]["n"] + groups["unknown drugs"]["n"] == 40
    assert "known drugs" not in card.by_group(problems, scores, {})


def test_chance_by_hand():
    task = tasks.get("mini_gsm")
    assert measuring.chance(task, [problem(0, "1"), problem(1, "2"), problem(2, "2")]) == pytest.approx(2 / 3)
    assert measuring.chance(tasks.get("mini_med"), tasks.problems("mini_med", "dev", 5)) == 0.25


def test_pretrain_problems_are_those_of_that_split():
    problems = measuring.problems_of("mini_math", "pretrain", 20)
    assert len({p.question for p in problems}) == 20 and all("/pretrain/" in p.id for p in problems)


def test_shares():
    assert share([]) == {"value": None, "n": 0, "low": None, "high": None}
    alone, clustered = share([1, 1, 0, 0]), share([1, 1, 0, 0], ["a", "a", "b", "b"])
    assert clustered["low"] < alone["low"] and clustered["high"] > alone["high"] and clustered["value"] == 0.5


# The critic


def test_exercises_are_the_dev_problems():
    for name in DEBATED:
        given = debater.exercises(name, 5)
        assert [e.problem for e in given] == tasks.problems(name, "dev", 5), name
        assert all(e.is_right(e.right()) for e in given) and sum(e.is_right(e.wrong()) for e in given) < 3


@pytest.mark.parametrize("name", DEBATED)
def test_a_perfect_critic(name):
    given = debater.exercises(name, 4)
    traces, wrong_at = debater.injected(given, ["Answer: -5"] * 4)
    for exercise, some, at in zip(given, traces, wrong_at, strict=True):
        assert [exercise.is_right(trace) for trace in some] == [False, at == 3, at == 2]
    texts = [
        [reply(some, [k, *({1, 2, 3} - {k})], e) for k in (1, 2, 3)] for e, some in zip(given, traces, strict=True)
    ]
    counted = debater.on_its_own_samples(given, traces, texts)
    assert {key: counted[key]["value"] for key in counted if key not in ("problems", "agents", "step_chance")} == {
        "checked": 1, "no_check": 0, "precision": 1, "chance": 0.6667, "recall": 1, "false_alarms": 0,
        "step_precision": 1, "step_repaired": 1, "keep": 1, "repair": 0, "anew": 0, "kept_is_right": 1,
        "chance_kept": 0.3333, "before": 0.3333, "after": 1,
    }  # fmt: skip
    assert 0 < counted["step_chance"]["value"] <= 1 and counted["precision"]["n"] == 16
    control = debater.on_injected_errors([first for first, *_ in texts], wrong_at)
    assert [control[key]["value"] for key in ("found", "passed", "balanced", "no_verdict")] == [1, 1, 1, 0]


def test_a_bad_critic_by_hand():
    (exercise,) = debater.exercises("mini_gsm", 1)
    ((_, one, other),), _ = debater.injected([exercise], ["Answer: -5"])
    right, wrong = (one, other) if exercise.is_right(one) else (other, one)
    said = "Check 2: x=1 said 1 ok\nCheck 3: x=1 said 2 no\nCheck 1: x=1 said 2 no\nCheck: keep 2\n" + wrong
    counted = debater.on_its_own_samples(
        [exercise], [[right, wrong, right]], [[said, "", "Check: none is right\n" + right]]
    )
    assert {key: (entry["value"], entry["n"]) for key, entry in counted.items() if isinstance(entry, dict)} == {
        "checked": (0.3333, 3), "no_check": (0.6667, 3), "precision": (0, 1), "chance": (0.5, 2), "recall": (0, 1),
        "false_alarms": (1, 1), "step_precision": (0, 1), "step_chance": (0, 1), "step_repaired": (None, 0),
        "keep": (0.3333, 3), "repair": (0, 3), "anew": (0.3333, 3), "kept_is_right": (0, 1),
        "chance_kept": (0.6667, 1), "before": (0.6667, 3), "after": (0.3333, 3),
    }  # fmt: skip
    control = debater.on_injected_errors([said, "Check 3: x=1 said 1 ok"], [2, 2])
    assert [control[key]["value"] for key in ("found", "passed", "balanced", "no_verdict")] == [0, 0.5, 0.25, 0.25]


# Pictures


def test_what_is_right_of_a_picture_and_of_blank_paper(monkeypatch, tmp_path):
    """An engine that reads the picture is right; of paper, which it takes for another picture, seldom."""
    problems = measuring.problems_of("mini_pictures", "dev", 60)
    gold = {(p.question, p.image): p.solution for p in problems}

    class Sees:
        def generate(self, chats, sampling, seed):
            assert sampling.temperature == 0
            said = [gold.get((chat[0]["content"], chat[0]["image"]), "Answer: 3") for chat in chats]
            assert {chat[0]["image"] == pictures.BLANK for chat in chats} in ({True}, {False})
            return [Completion(text, (1,), "stop", 1, 0, 1) for text in said]

    monkeypatch.setattr(engines, "make", lambda name, config: Sees())
    network, n = Network(tmp_path, SEES), 0
    for kind in card.SECTIONS["pictures"].parts(SETTINGS):
        found = seeing.measure(network, kind, {"problems": 60})
        asked = [p for p in problems if p.template.startswith(kind)]
        n += len(asked)
        assert found["seen"]["value"] == 1 and found["seen"]["n"] == found["blank"]["n"] == len(asked)
        assert found["blank"]["value"] == round(sum(p.answer == "3" for p in asked) / len(asked), 4)
        assert 0 < found["chance"] < 0.6
    assert n == 60
    measured = {"pictures": {"parts": {kind: found}}}
    text = page({**SEES, "measured": measured})
    assert f"| {kind} | {100 * found['chance']:.1f} | " in text and "100.0 [" in text.split("## Pictures")[1]


# The ways to answer


def test_ways_by_hand(oracle, tmp_path):
    found = ways.measure(Network(tmp_path, TEACHER), "mini_gsm", SETTINGS)
    # Of 15 samples of a problem, 8 or 7 are right, in turn; of the first 5, 3 or 2; a right one is the more likely.
    values = {way: entry["accuracy"]["value"] for way, entry in found["ways"].items()}
    assert values == {
        "one agent": 0.5, "majority of 5 samples": 0.5, "majority of 15 samples": 0.5,
        "likelihood-weighted vote of 15 samples": 1.0,
        **{f"debate, round {k}": 1.0 for k in (2, 3)}, **{f"debate of shuffled peers, round {k}": 1.0 for k in (2, 3)},
        **{f"self-correction, then majority, round {k}": 1.0 for k in (2, 3)},
    }  # fmt: skip
    assert found["ways"]["debate, round 3"]["difference"]["difference"] == 0.5
    assert found["ways"]["debate, round 3"]["difference"]["p"] == 0.5  # two discordant problems
    assert "difference" not in found["ways"][ways.EQUAL] and found["problems"] == 4
    samples, *rounds = oracle.calls
    assert len(samples[0]) == 60 and samples[1].logprobs and [len(chats) for chats, *_ in rounds] == [20] * 6
    assert len({seed for *_, seed in oracle.calls}) == 7
    debate, shuffled, alone = (rounds[k][0][0] for k in (0, 2, 4))
    first = oracle.gold[debate[0]["content"].split("\n\n")[0]].splitlines()[0]
    assert first in debate[0]["content"] and first not in shuffled[0]["content"] and len(debate) == 1
    assert [turn["role"] for turn in alone] == ["user", "assistant", "user"]


def test_weighted_votes():
    assert votes.weighted(["1", "2", "2", None], [0.5, 0.1, 0.2, 9.0], str.__eq__) == "1"
    assert votes.weighted(["1", "2", "2"], [0.2, 0.1, 0.2], str.__eq__) == "2"
    assert votes.weighted([None], [1.0], str.__eq__) is None


# Training and speed, on a tiny network


def test_gold_lowers_the_loss(networks):
    model, tokenizer = load.load(networks["qwen3"])
    chats = [[{"role": "user", "content": p.question}, {"role": "assistant", "content": p.solution}]
             for p in tasks.problems("mini_math", "train", 32)]  # fmt: skip
    encoded = [encode(Example(chat), tokenizer) for chat in chats]
    losses = gold.teach(model, encoded, 3e-3, 8)
    assert len(losses) == 16 and losses[-1] < 0.8 * losses[0]
    again = gold.teach(load.load(networks["qwen3"])[0], encoded, 3e-3, 8)
    assert again == losses


def test_batches_have_each_solution_once():
    solutions = [([0] * n, [0] * n) for n in range(1, 70)]
    batches = gold._by_length(solutions, gold.Random(0))
    assert sorted(i for batch in batches for i in batch) == list(range(69)) and len(batches) == 5
    assert max(map(max, batches)) - min(map(min, batches)) == 68
    assert all(max(batch) - min(batch) < gold.BATCH for batch in batches)


def test_padding_is_not_learnt(networks):
    """A solution's loss does not depend on what it is padded with."""
    (short, long), model = [([5] * n, [-100] + [5] * (n - 1)) for n in (4, 60)], load.load(networks["qwen3"])[0]
    alone = gold.teach(copy.deepcopy(model), [short], 0.0, 1)[0]
    ids = gold._pad([short[0], long[0]], 0)
    with torch.no_grad():
        hidden = model.model(ids).last_hidden_state[0, :3]
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden), torch.tensor([5, 5, 5]))
    assert float(loss) == pytest.approx(alone, rel=0.02)


@pytest.fixture
def net(networks, tmp_path):
    """A folder with the weights of a tiny network and a card."""
    folder = tmp_path / "net"
    folder.mkdir()
    for file in load.Path(networks["qwen3"]).iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "card.json").write_text(json.dumps(TRAINED))
    return folder


def test_gold_and_speed_on_a_network(net, monkeypatch):
    monkeypatch.setattr(speed, "ENGINE", speed.ENGINE.model_copy(update={"batch": 2}))
    for module in (speed, measuring):
        monkeypatch.setattr(module, "ALONE", 4)
    monkeypatch.setattr(gold, "DEBATED", ("mini_math",))
    measured = card.complete(net, SETTINGS, ["gold", "speed"])["measured"]
    taught = measured["gold"]["parts"]["mini_math 8"]
    assert taught["examples"] == 8 and taught["steps"] == 2 and taught["taught"]["n"] == 6
    assert taught["difference"]["difference"] == taught["taught"]["value"] - taught["base"]["value"]
    for part in speed.PARTS:
        rates = measured["speed"]["parts"][part]["tokens_per_second"]
        assert set(rates) == {"ours", "bare"} and min(rates.values()) > 0
    assert set(measured) == {"gold", "speed"}


# The command


class Counted:
    """A section that counts its parts, and fails once at a part."""

    def __init__(self, fails=None):
        self.calls, self.fails = [], fails

    def __call__(self, network, part, settings):
        if part == self.fails:
            self.fails = None
            raise RuntimeError("the power went out")
        self.calls.append((part, settings))
        return {"value": f"{part} {settings}"}


@pytest.fixture
def sections(monkeypatch):
    one, two = Counted(), Counted()
    found = {
        "one": Section(one, lambda settings: ["a", "b", "c"], ("problems",)),
        "two": Section(two, lambda settings: ["a"], ("debated",)),
        "never": Section(Counted(), lambda settings: ["a"], (), lambda card: False),
    }
    monkeypatch.setattr(card, "SECTIONS", found)
    monkeypatch.setattr(card, "page", lambda card: "the page")
    return one, two


def test_a_killed_run_resumes(sections, net):
    one, two = sections
    one.fails = "b"
    with pytest.raises(RuntimeError):
        card.complete(net, SETTINGS)
    assert list(json.loads((net / "card.json").read_text())["measured"]["one"]["parts"]) == ["a"]
    resumed = card.complete(net, SETTINGS)
    assert [part for part, _ in one.calls] == ["a", "b", "c"] and len(two.calls) == 1
    (net / "card.json").write_text(json.dumps(TRAINED))
    assert card.complete(net, SETTINGS) == resumed == json.loads((net / "card.json").read_text())
    assert set(resumed["measured"]) == {"one", "two"} and (net / "README.md").read_text() == "the page"


def test_a_section_is_measured_once_and_anew_with_other_settings(sections, net):
    one, two = sections
    for _ in range(2):
        card.complete(net, SETTINGS)
    assert len(one.calls) == 3 and len(two.calls) == 1
    card.complete(net, {**SETTINGS, "problems": 7})
    assert len(one.calls) == 6 and len(two.calls) == 1 and one.calls[-1] == ("c", {"problems": 7})


def test_only_some_sections(sections, net):
    one, two = sections
    card.complete(net, SETTINGS, ["two"])
    assert not one.calls and len(two.calls) == 1


def test_the_command(sections, net, monkeypatch, capsys):
    config = {"card": {**SETTINGS}, "common": COMMON, "networks": {"net": {}, "other": {}}}
    (net.parent / "zoo.yaml").write_text(yaml.safe_dump(config))
    call = ["card", str(net.parent / "zoo.yaml"), "--out", str(net.parent)]
    monkeypatch.setattr("sys.argv", call)
    card.main()
    output = capsys.readouterr().out
    assert "other: not trained yet" in output and "net: one, a" in output and len(sections[0].calls) == 3
    monkeypatch.setattr("sys.argv", [*call[:2], "nobody", *call[2:]])
    with pytest.raises(SystemExit):
        card.main()
    assert "no network nobody" in capsys.readouterr().err


def test_sections_of_students_and_teachers():
    of = {name: tuple(map(section.of, (TRAINED, TEACHER, SEES))) for name, section in card.SECTIONS.items()}
    student, teacher = (True, False, True), (False, True, False)
    assert of == {"accuracy": (True,) * 3, "pictures": (False, False, True), "gold": student, "debater": teacher,
                  "ways": teacher, "speed": (True,) * 3}  # fmt: skip


def test_no_test_problem_is_read(oracle, tmp_path, monkeypatch):
    read, real = set(), tasks.problems
    monkeypatch.setattr(tasks, "problems", lambda name, split, n: read.add(split) or real(name, split, n))
    for name in ("accuracy", "debater", "ways"):
        for part in card.SECTIONS[name].parts(SETTINGS):
            card.SECTIONS[name].measure(Network(tmp_path, TEACHER), part, SETTINGS)
    assert read == {"dev", "train"}


# The page


def numbers(entry):
    """The shares and the differences that an entry of a card has."""
    if isinstance(entry, dict) and "low" in entry:
        yield entry
    elif isinstance(entry, dict):
        for value in entry.values():
            yield from numbers(value)


def test_the_page_has_every_number(oracle, tmp_path):
    teacher = Network(tmp_path, TEACHER)
    measured = {
        name: {"parts": {part: card.SECTIONS[name].measure(teacher, part, SETTINGS) for part in parts}}
        for name, parts in {"accuracy": MODULES, "debater": DEBATED, "ways": DEBATED}.items()
    }
    shares = {"base": share([0, 1, 0, 0]), "taught": share([1, 1, 1, 0])}
    difference = measuring.compared([1, 1, 1, 0], [0, 1, 0, 0])
    taught = {"examples": 250, "steps": 47, "seconds": 1.0, "loss": [1.25, 0.5], "chance": 0.083, **shares}
    measured["gold"] = {"parts": {"mini_gsm 250": {**taught, "difference": difference}}}
    ratio = {"value": 0.912, "n": 3, "low": 0.853, "high": 0.954}
    about = {"tokens_per_second": {"ours": 4321, "bare": 4739}, "ratio": ratio, "threads": 1, "machine": "a machine"}
    measured["speed"] = {"parts": {"generation": about}}
    text = page({**TEACHER, "measured": measured})
    found = [entry for name in measured if name != "speed" for entry in numbers(measured[name])]
    assert len(found) > 200
    for entry in found:
        if "p" in entry:
            shown = f"{100 * entry['difference']:+.1f} [{100 * entry['low']:+.1f}, {100 * entry['high']:+.1f}], p = "
        elif entry["n"]:
            shown = f"{100 * entry['value']:.1f} [{100 * entry['low']:.1f}, {100 * entry['high']:.1f}] ({entry['n']})"
        else:
            shown = "no case"
        assert shown in text, shown
    for line in (
        "# net: teacher Net",
        "it says nothing about its namesake. `NetForCausalLM` with 123,456 parameters",
        "3.0 M tokens in 3 steps, seed 0, 0.5 hours of 1 thread(s) in 2 piece(s) on a machine",
        "| mini_gsm | 250 | 47 | 1.250 → 0.500 | 8.3 | 25.0 [",
        "| generation | 4,321 | 4,739 | 0.912 [0.853, 0.954] (3) | 1 thread(s), a machine |",
        "## Not measured",
    ):
        assert line in text, line
    assert "The sections" not in text


def test_the_page_names_what_is_missing():
    assert "The sections accuracy, gold, debater, ways, speed of" in page(TRAINED)
    assert "The sections pictures, accuracy, gold, debater, ways, speed of" in page(SEES)
