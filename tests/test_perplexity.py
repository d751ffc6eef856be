"""Perplexity of reasoning (4.4, E.1): what is counted, by hand; padding; a killed run; means and differences."""

import json
import math
from random import Random
from types import SimpleNamespace

import pandas as pd
import pytest
import tiny
import torch

from agentark import params, store, tasks
from agentark.cells import Cell, Files
from agentark.evaluate import jobs, perplexity, reordered
from agentark.evaluate.jobs import PREDICTIONS
from agentark.graph import graph
from agentark.graph.job import Study
from agentark.models import load
from agentark.report import perplexity as report

TEXT = "gets 48+3=51\nloses 51-39=12\nAnswer: 12"


def test_reasoning_ends_before_the_answer_line():
    assert reordered.parts(TEXT) == ("gets 48+3=51\nloses 51-39=12\n", "Answer: 12")
    assert reordered.parts("2+2=4\nAnswer: 4\nnonsense") == ("2+2=4\n", "Answer: 4\nnonsense")
    assert reordered.parts("no answer at all") == ("no answer at all", "")
    assert reordered.parts("Answer: 4") == ("", "Answer: 4")


def test_other_orders_have_the_same_words_and_no_answer():
    orders = reordered.orders(TEXT, Random(0))
    assert orders["lines"] == "loses 51-39=12\ngets 48+3=51\n"
    assert sorted(orders["words"].split()) == sorted(reordered.parts(TEXT)[0].split())
    assert [len(line.split()) for line in orders["words"].splitlines()] == [2, 2]
    assert orders["words"] != reordered.parts(TEXT)[0]
    assert set(reordered.orders("gets 48+3=51\nAnswer: 51", Random(0))) == {"words"}
    assert reordered.orders("one\nAnswer: 1", Random(0)) == {} == reordered.orders("Answer: 1", Random(0))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """(network, tokenizer) of a random student."""
    return load.load(tiny.save_networks(tmp_path_factory.mktemp("networks"))["qwen3"])


class Half:
    """A network that gives the newline half of the probability and shares the rest among all other tokens."""

    device = torch.device("cpu")

    def __init__(self, size: int, newline: int):
        self.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=size))
        self.log_probs_V = torch.full((size,), math.log(0.5 / (size - 1)))
        self.log_probs_V[newline] = math.log(0.5)

    def base_model(self, input_ids, attention_mask, use_cache):
        return SimpleNamespace(last_hidden_state=torch.zeros(*input_ids.shape, 1))

    def lm_head(self, hidden):
        return self.log_probs_V.expand(*hidden.shape[:-1], -1)


def test_the_nll_by_hand(network):
    """Two newlines of probability 1/2 among n tokens of 1 / (2 (V - 1)): neither prompt nor answer counts."""
    _, tokenizer = network
    size, (newline,) = len(tokenizer), tokenizer("\n", add_special_tokens=False).input_ids
    prompt = "<|user|>What\nis\nit?<|end|><|assistant|>"
    row = perplexity.row(tokenizer, prompt, TEXT)
    counted = row.ids[row.start :]
    assert tokenizer.decode(counted) == "gets 48+3=51\nloses 51-39=12\n" and row.ends == (len(row.ids) - 1,)
    assert tokenizer.decode(row.ids[: row.start]) == prompt and "Answer" not in tokenizer.decode(row.ids)
    assert counted.count(newline) == 2
    (nll,) = perplexity.score(Half(size, newline), 0, [row])
    others = len(counted) - 2
    assert nll == pytest.approx((2 * math.log(2) + others * math.log(2 * (size - 1))) / len(counted), rel=1e-5)
    assert perplexity.row(tokenizer, prompt, "Answer: 12") is None


def test_batched_is_one_by_one_and_is_the_networks_own_loss(network):
    model, tokenizer = network
    problems = tasks.problems("mini_gsm", "test", 9)
    rows = [perplexity.row(tokenizer, f"<|user|>{p.question}<|end|><|assistant|>", p.solution) for p in problems]
    assert len({len(row.ids) for row in rows}) > 2  # so that a batch has padding
    together = perplexity.score(model, tokenizer.pad_token_id, rows, batch=9)
    alone = perplexity.score(model, tokenizer.pad_token_id, rows, batch=1)
    assert together == pytest.approx(alone, rel=1e-4)
    ids = torch.tensor([rows[0].ids])
    labels = torch.where(torch.arange(ids.shape[1]) < rows[0].start, -100, ids)
    assert alone[0] == pytest.approx(model(input_ids=ids, labels=labels).loss.item(), rel=1e-4)


STUDENT, TESTS = "zoo/qwen3-0.6b", {"mini_gsm": 4}
BASE = Cell(student=STUDENT, method="base")
RSFT = Cell(teacher="t", student=STUDENT, method="rsft", train="mini_gsm", protocol="debate")


@pytest.fixture
def study(tmp_path, network, monkeypatch):
    """Files of a base and a trained student (the same random network), whose answers are right on two problems."""
    files, loaded = Files(tmp_path), []
    problems = tasks.problems("mini_gsm", "test", 4)
    for cell in (BASE, RSFT):
        tested = cell.but(test="mini_gsm", split="test")
        texts = [p.solution if k < 2 else "Answer: none" for k, p in enumerate(problems)]
        rows = [
            {"item": p.id, "sample": -1, "text": text, "gold": p.answer, "template": p.template, "held_out": False}
            for p, text in zip(problems, texts, strict=True)
        ]
        path = files.path(PREDICTIONS, tested)
        store.finish(pd.DataFrame(rows).assign(**tested.columns()), path, {"stage": "evaluate"}, 0.0)
    checkpoint = files.path(perplexity.STUDENTS, RSFT)
    checkpoint.mkdir(parents=True)
    store.write_manifest(checkpoint, {"stage": "distill"}, 0.0)
    monkeypatch.setattr(perplexity.load, "load", lambda name, dtype: loaded.append(name) or network)
    config = params.load(store.ROOT / "params" / "mini.yaml")[0]

    def run():
        path = tmp_path / report.ROWS
        return perplexity.run(path, files, config, [BASE, RSFT], TESTS, 0, progress=lambda *_: None)

    return SimpleNamespace(run=run, loaded=loaded, path=tmp_path / report.ROWS, checkpoint=checkpoint)


def test_the_rows_of_a_study(study):
    rows = study.run()
    assert study.loaded == [STUDENT, str(study.checkpoint)]
    assert list(rows.columns) == [*BASE.columns(), *perplexity.COLUMNS]
    assert set(rows.test) == {"mini_gsm"} and set(rows["sample"]) == {-1}
    sizes = rows.groupby(["method", "source"]).size()
    assert sizes["base", "gold"] == sizes["rsft", "gold"] == 4 and sizes["base", "own"] == sizes["rsft", "own"] == 2
    assert len(study.run()) == len(rows) and len(study.loaded) == 2  # done: nothing is loaded again
    assert json.loads(store.manifest_path(study.path).read_text())["skipped"] == dict.fromkeys(perplexity.SKIPPED, 0)


def test_a_killed_run_resumes(study, monkeypatch):
    measure, calls = perplexity.measure, []

    def dies(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(perplexity, "measure", dies)
    with pytest.raises(KeyboardInterrupt):
        study.run()
    rows = study.run()
    assert len(calls) == 3 and set(rows.method) == {"base", "rsft"}  # the base's rows come from the journal


def test_means_differences_and_orders_by_hand():
    base = [0.4 + 0.1 * (k % 2) for k in range(12)]
    nlls = {("base", "gold"): base, ("base", "lines"): [x + 1 for x in base[:5]]}
    nlls |= {
        ("rsft", "gold"): [x - 0.2 - 0.01 * (k % 3) for k, x in enumerate(base)],
        ("rsft", "own"): [0.1] * 3,
        ("base", "own"): [0.2] * 3,
    }
    rows = _rows(nlls)
    table = report.means(rows, level=0.95, resamples=200).set_index(["method", "source"])
    gold = table.loc["base", "gold"]
    assert (gold.n, gold.tokens) == (12, 10) and gold.nll == pytest.approx(0.45) and gold.low < 0.45 < gold.high
    assert gold.ppl == pytest.approx(math.exp(0.45)) and gold.ppl_low == pytest.approx(math.exp(gold.low))
    assert gold.mean_ppl == pytest.approx((math.exp(0.4) + math.exp(0.5)) / 2)
    (paired,) = report.differences(rows, level=0.95, resamples=200).to_dict("records")  # `own` has too few in common
    assert (paired["source"], paired["method"], paired["against"], paired["n"]) == ("gold", "rsft", "base", 12)
    assert paired["difference"] == pytest.approx(-0.21) and paired["verdict"] == "lower"
    (order,) = report.orders(rows, level=0.95, resamples=200).to_dict("records")
    assert (order["order"], order["n"]) == ("lines", 5) and order["difference"] == pytest.approx(1)


def _rows(nlls: dict) -> pd.DataFrame:
    """Rows with these NLLs, by (method, source), one per item."""
    cells = {"base": BASE, "rsft": RSFT}
    lines = [
        {**cells[method].but(test="mini_gsm").columns(), "item": f"i{k}", "sample": -1, "source": source, "nll": value}
        for (method, source), values in nlls.items()
        for k, value in enumerate(values)
    ]
    return pd.DataFrame(lines).assign(tokens=10)


def test_the_papers_table_is_that_of_decision_26():
    table = report.papers().set_index("method")
    near = (table.exp_of_nll - table.perplexity).abs() < 2e-4
    assert near.to_dict() == {"single": True, "rsft": False, "da": True, "pad": True}


def test_the_job_waits_for_all_students_and_answers():
    config = params.load(store.ROOT / "params" / "mini.yaml")[0]
    study = Study(config)
    (job,) = report.jobs(study)
    cells = jobs.cells(study)
    assert len(cells) == 1 + len(config.study.methods) * len(config.study.train_tasks)
    for cell in cells:
        assert study.path(PREDICTIONS, cell.but(test="mini_med", split="test")) in job.inputs
        if cell.method != "base":
            assert store.manifest_path(study.path(perplexity.STUDENTS, cell)) in job.inputs
    costs = next(j for j in graph.all_jobs(config, 0) if j.notebook == "21_cost")
    assert set(job.outputs) <= set(costs.inputs)  # or its table would depend on which of the two ran first
