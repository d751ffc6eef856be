"""The zoo's cards: what they measure is what the tasks say, on dev alone, and the page shows it."""

import json

import pytest
import yaml

from agentark import engines, stats, tasks
from agentark.engines import Completion
from agentark.zoo import card

TRAINED = {
    "name": "net",
    "role": "student Net",
    "architecture": "NetForCausalLM",
    "parameters": 123456,
    "phases": [{"steps": 3, "shares": {"drill": 1.0}, "lengths": [1, 2]}],
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


class Oracle:
    """Answers every dev problem with its gold solution; every second one sampled, without an answer, when it is hot."""

    def __init__(self):
        self.asked = []
        self.gold = {t.prompt(p): p.solution for name, t in tasks.TASKS.items() for p in tasks.problems(name, "dev", 6)}

    def generate(self, chats, sampling, seed):
        self.asked.append((sampling.temperature, [chat[0]["content"] for chat in chats]))
        return [
            Completion("" if sampling.temperature and n % 2 else self.gold[chat[0]["content"]], (1,), "stop", 1, 0, 1)
            for n, chat in enumerate(chats)
        ]


@pytest.fixture
def oracle(monkeypatch):
    made = Oracle()
    monkeypatch.setattr(engines, "make", lambda name, told: made)
    return made


def test_gold_solutions_score_in_full_on_every_task(oracle, tmp_path):
    scores = card.measure(tmp_path, 6, 0.8, 4)
    assert set(scores) == set(tasks.TASKS)
    for name, about in scores.items():
        assert (
            about["greedy"] == [1.0, *(round(x, 4) for x in stats.wilson(6, 6))]
            and about["unparsed"] == 0
            and about["n"] == 6
        ), name
        assert ("sampled" in about) == (name in card.TRAINING_ROLES)
        assert about.get("sampled", [0.5])[0] == 0.5
    assert sum(heat == 0 for heat, _ in oracle.asked) == 8 and sum(heat == 0.8 for heat, _ in oracle.asked) == 4


def test_the_page_shows_all_of_it(oracle, tmp_path):
    text = card.page(
        {**TRAINED, "scores": {"split": "dev", "temperature": 0.8, "tasks": card.measure(tmp_path, 6, 0.8, 4)}}
    )
    for said in (
        "# net: student Net",
        "123,456 parameters",
        "3.0 M tokens in 3 steps, seed 0, 0.5 hours of 1 thread(s) in 2 piece(s) on a machine",
        "1,234 tokens a second",
        "12 % of the machine's",
        "| mini_gsm | accuracy | 6 | 100.0 [61.0, 100.0] | 50.0 [18.8, 81.2] |",
        "| mini_qmsum | rouge | 6 | 100.0 [61.0, 100.0] |  |",
    ):
        assert said in text, said


def test_the_command_measures_once(oracle, tmp_path, monkeypatch, capsys):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "card.json").write_text(json.dumps(TRAINED))
    (tmp_path / "zoo.yaml").write_text(
        yaml.safe_dump({"card": {"problems": 6, "temperature": 0.8}, "networks": {"net": {}, "other": {}}})
    )
    monkeypatch.setattr("sys.argv", ["card", str(tmp_path / "zoo.yaml"), "--out", str(tmp_path)])
    card.main()
    said = capsys.readouterr().out
    assert "other: not made yet" in said and "net {'mini_gsm': 1.0" in said
    made = json.loads((tmp_path / "net" / "card.json").read_text())
    assert (
        made["scores"]["tasks"]["mini_gsm"]["greedy"][0] == 1.0
        and "# net" in (tmp_path / "net" / "README.md").read_text()
    )
    asked = len(oracle.asked)
    card.main()
    assert len(oracle.asked) == asked
