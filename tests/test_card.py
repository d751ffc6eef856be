"""The zoo's cards: they have the tasks' scores on dev problems only, and the page shows them."""

import json

import pytest
import yaml

from agentark import engines, stats, tasks
from agentark.engines import Completion
from agentark.zoo import card, corpus

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
    """Replies to every dev problem with its gold solution; sampled, every second reply has no answer."""

    def __init__(self):
        self.calls = []
        names = corpus.MODULES
        self.gold = {tasks.get(t).prompt(p): p.solution for t in names for p in tasks.problems(t, "dev", 6)}

    def generate(self, chats, sampling, seed):
        self.calls.append((sampling.temperature, [chat[0]["content"] for chat in chats]))
        return [
            Completion("" if sampling.temperature and n % 2 else self.gold[chat[0]["content"]], (1,), "stop", 1, 0, 1)
            for n, chat in enumerate(chats)
        ]


@pytest.fixture
def oracle(monkeypatch):
    engine = Oracle()
    monkeypatch.setattr(engines, "make", lambda name, config: engine)
    return engine


def test_gold_solutions_score_in_full_on_every_task(oracle, tmp_path):
    scores = card.measure(tmp_path, 6, 0.8, 4)
    assert set(scores) == set(corpus.MODULES)
    for name, row in scores.items():
        assert (
            row["greedy"] == [1.0, *(round(x, 4) for x in stats.wilson(6, 6))]
            and row["unparsed"] == 0
            and row["n"] == 6
        ), name
        assert ("sampled" in row) == (name in card.TRAINING_ROLES)
        assert row.get("sampled", [0.5])[0] == 0.5
    assert (
        sum(temperature == 0 for temperature, _ in oracle.calls) == 8
        and sum(temperature == 0.8 for temperature, _ in oracle.calls) == 4
    )


def test_the_page_shows_all_of_it(oracle, tmp_path):
    text = card.page(
        {**TRAINED, "scores": {"split": "dev", "temperature": 0.8, "tasks": card.measure(tmp_path, 6, 0.8, 4)}}
    )
    for line in (
        "# net: student Net",
        "123,456 parameters",
        "3.0 M tokens in 3 steps, seed 0, 0.5 hours of 1 thread(s) in 2 piece(s) on a machine",
        "1,234 tokens a second",
        "12 % of the machine's",
        "| mini_gsm | accuracy | 6 | 100.0 [61.0, 100.0] | 50.0 [18.8, 81.2] |",
        "| mini_qmsum | rouge | 6 | 100.0 [61.0, 100.0] |  |",
    ):
        assert line in text, line


def test_the_command_measures_once(oracle, tmp_path, monkeypatch, capsys):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "card.json").write_text(json.dumps(TRAINED))
    (tmp_path / "zoo.yaml").write_text(
        yaml.safe_dump({"card": {"problems": 6, "temperature": 0.8}, "networks": {"net": {}, "other": {}}})
    )
    monkeypatch.setattr("sys.argv", ["card", str(tmp_path / "zoo.yaml"), "--out", str(tmp_path)])
    card.main()
    output = capsys.readouterr().out
    assert "other: not trained yet" in output and "net {'mini_gsm': 1.0" in output
    written = json.loads((tmp_path / "net" / "card.json").read_text())
    assert (
        written["scores"]["tasks"]["mini_gsm"]["greedy"][0] == 1.0
        and "# net" in (tmp_path / "net" / "README.md").read_text()
    )
    calls = len(oracle.calls)
    card.main()
    assert len(oracle.calls) == calls
