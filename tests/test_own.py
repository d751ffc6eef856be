"""Tests of `agentark distill`: errors, the model card and the report, and a run from end to end."""

import random
import re
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from fake_server import FakeServer, completion
from own_questions import prepared, sums, write
from server_faults import PASSING

from agentark import cli, params, store, tasks
from agentark.evaluate import students
from agentark.models import load
from agentark.own_data import card, findings, pipeline, publish, report
from agentark.report import page

MINI = store.ROOT / "params" / "mini.yaml"
SMALL, LARGE = "zoo/qwen3-0.6b", "zoo/qwen3-32b"


# Errors are sentences


@pytest.mark.parametrize(
    "changed, sentence",
    [
        ({"--teacher": "zoo/qwen3-23b"}, "did you mean 'zoo/qwen3-32b'"),
        ({"--student": "nothing"}, "'nothing' is no network"),
        ({"--train": "none.jsonl"}, "cannot read the task file none.jsonl"),
        ({"--out": "{tmp}/my.jsonl/out"}, "choose another --out"),
        ({"--out": "{tmp}/taken"}, "has a README.md that this program did not write"),
        ({"--params": "{tmp}/none.yaml"}, "no params file"),
        ({"--method": "pad", "--train": "{tmp}/nodev.jsonl"}, "has no dev rows"),
    ],
)
def test_errors_are_sentences_and_load_nothing(tmp_path, capsys, monkeypatch, changed, sentence):
    monkeypatch.setattr(load, "load_tokenizer", lambda name: pytest.fail("a network was touched"))
    write(tmp_path / "my.jsonl", sums(9, split="train") + sums(6, 9, split="test") + sums(1, 20, split="dev"))
    write(tmp_path / "nodev.jsonl", sums(9, split="train") + sums(6, 9, split="test"))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "README.md").write_text("mine")
    config = {"--train": "{tmp}/my.jsonl", "--teacher": LARGE, "--student": SMALL, "--out": "{tmp}/out", **changed}
    assert cli.main(["distill", *(part.format(tmp=tmp_path) for pair in config.items() for part in pair)]) == 2
    message = capsys.readouterr().err
    assert sentence in message and message.strip().count("\n") == 0
    assert (tmp_path / "taken" / "README.md").read_text() == "mine"


def test_errors_come_before_torch(tmp_path):
    write(tmp_path / "my.jsonl", sums(9, split="train"))
    config = [
        "distill",
        "--train",
        str(tmp_path / "my.jsonl"),
        "--teacher",
        LARGE,
        "--student",
        SMALL,
        "--out",
        str(tmp_path / "out"),
    ]
    code = f"import sys; from agentark import cli; status = cli.main({config!r}); "
    code += "print('torch' in sys.modules); sys.exit(status)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout.strip() == "False" and "held-out" in done.stderr


def test_two_runs_do_not_write_to_one_folder(tmp_path):
    with publish.lock(tmp_path):
        with pytest.raises(store.StoreError, match="another agentark distill is running"):
            with publish.lock(tmp_path):
                pass
    with publish.lock(tmp_path):
        pass


def test_a_debate_without_a_right_answer_reports_the_dropped_traces():
    counts = {
        "R-SFT traces": 0,
        "DA traces": 0,
        "correct final traces (T)": 0,
        "final traces": 4,
        "problems (Q)": 2,
        "final traces dropped: wrong answer": 3,
        "final traces dropped: truncated": 1,
    }
    with pytest.raises(
        pipeline.DistillError, match=r"no trace is right \(4 traces of 2 problems: 3 wrong answer, 1 truncated\)"
    ):
        pipeline._check_traces(counts, "rsft")
    with pytest.raises(pipeline.DistillError, match="no problem has two right traces"):
        pipeline._check_traces({**counts, "R-SFT traces": 1, "correct final traces (T)": 1}, "da")
    pipeline._check_traces({**counts, "R-SFT traces": 1}, "rsft")


def test_verdicts_that_cannot_be_read_are_no_fault_of_the_teacher(tmp_path, capsys):
    model = {"model": "gpt-4o-mini", "constrained": False, "temperature": 0.0, "max_new_tokens": 5, "chunk": 8}
    judges = params.Judges(verifier=model, diversity=model, distiller=None, quality=None)
    verdicts = pd.DataFrame({"verdict": ["correct", "unparsed"], "reply": ["Correct.", "Well, it depends on"]})
    verdicts.to_parquet(tmp_path / "x_verdicts.parquet")
    counts = {
        "LLM verifier, different answers asked about": 2,
        "LLM verifier, different answers: unparsed": 1,
        "LLM diversity judge, problems whose judge's reply could not be read": 3,
    }
    pipeline._report_unread(counts, judges, tmp_path / "x.parquet")
    said = capsys.readouterr().err
    assert "1 of 2 verdicts of the verifier gpt-4o-mini could not be read" in said and "Well, it depends on" in said
    assert "3 choices of the diversity judge gpt-4o-mini could not be read" in said
    with pytest.raises(pipeline.DistillError, match="2 of 2 verdicts .* could not be read, .*judges.verifier"):
        pipeline._report_unread(
            {**counts, "LLM verifier, different answers: unparsed": 2}, judges, tmp_path / "x.parquet"
        )
    nothing = {
        "R-SFT traces": 0,
        "final traces": 4,
        "problems (Q)": 2,
        "final traces dropped: wrong answer": 4,
        "correct final traces (T)": 0,
        "LLM verifier, traces: unparsed": 2,
    }
    with pytest.raises(pipeline.DistillError, match="verdict on 2 traces could not be read") as caught:
        pipeline._check_traces(nothing, "rsft")
    assert "better teacher" not in str(caught.value)


@pytest.mark.parametrize(
    "teacher, student, tier",
    [
        (LARGE, SMALL, "mini"),
        ("smollm2-135m", "smollm2-135m", "smollm2"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", SMALL, "smollm2"),
        ("Qwen3-8B", "smollm2-135m", "qwen3"),
        ("./mine", "Qwen3-0.6B", "qwen3"),
    ],
)
def test_the_params_go_with_the_networks(teacher, student, tier):
    assert pipeline.default_params(teacher, student).stem == tier


def test_names_mean_the_same_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert (
        pipeline.full_name("Qwen3-0.6B") == "Qwen/Qwen3-0.6B" and pipeline.full_name("smollm2-135m") == "smollm2-135m"
    )
    assert (
        pipeline.full_name("./mine") == str(tmp_path / "mine")
        and pipeline.full_name(SMALL) == SMALL
        and pipeline.full_name("a/b") == "a/b"
    )


# Card and page


def finished(tmp_path, right_before, right_after, student=SMALL) -> findings.Results:
    """Return the results of `sft` with ten held-out problems, of which the first ones were answered correctly."""
    own = prepared(tmp_path, sums(4, split="train") + sums(10, 10, split="test"))
    keys = {"teacher": LARGE, "student": student, "train": own.task, "test": own.task, "protocol": "debate", "seed": 0}
    rows = []
    for method, right in (("base", right_before), ("sft", right_after)):
        for k, p in enumerate(tasks.problems(own.task, "test", 10)):
            cell = keys | (dict.fromkeys(("teacher", "train", "protocol"), "-") if method == "base" else {})
            rows.append(
                {
                    **cell,
                    "method": method,
                    "item": p.id,
                    "sample": -1,
                    "gold": p.answer,
                    "correct_flexible": k < right,
                    "answer_flexible": p.answer if k < right else "<b>0",
                    "finish": "length" if k == 9 else "stop",
                }
            )
    training = {"loss": [{"step": 1, "loss": 2.0}], "examples": 4, "dropped": 0, "parameters_trained": 1234}
    manifest = {
        "made": "now",
        "seconds": 1.0,
        "peak_memory_mb": 5,
        "machine": "a machine",
        "python": "3.11",
        "versions": {"torch": "2"},
    }
    return findings.Results(
        own, params.load(MINI)[0], LARGE, student, "sft", 0, pd.DataFrame(rows), None, {}, training, manifest
    )


def test_the_verdict_has_the_numbers(tmp_path):
    text = findings.finding(finished(tmp_path, 2, 9))
    assert text.startswith(
        "On 10 held-out problems the student answers 90.0 % correctly, compared with 20.0 % before training: "
        "it is better than before (difference +70.0 ["
    )
    assert "p = 0.016 by McNemar's exact test)." in text  # seven problems in one direction: 2 / 2^7


def test_no_difference_is_reported_with_the_detectable_one(tmp_path):
    one = finished(tmp_path, 2, 3)
    text, smallest = findings.finding(one), one.paired.smallest_detectable.iloc[0]
    assert "no difference can be detected" in text
    assert (
        (f"A true difference of {100 * smallest:.0f} points" in text)
        if smallest <= 1
        else "With so few problems" in text
    )


def test_a_gain_that_may_be_one_of_form_is_reported(tmp_path):
    one = finished(tmp_path, 2, 9)
    assert "form of an answer" not in findings.finding(one)
    one.rows.loc[(one.rows.method == "base") & ~one.rows.correct_flexible, "answer_flexible"] = None
    assert "without a readable answer fell from 80 % to 0 %" in findings.finding(one)


def test_the_card_is_whole(tmp_path):
    text = card.card(finished(tmp_path, 2, 9), is_adapter=True)
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head) == {"license": "apache-2.0", "library_name": "peft", "tags": ["agentark", "sft"]}
    for part in (
        "| qwen3-0.6b before training | 10 | 20.0 [5.7, 51.0] | 0.0 | 10.0 |",
        "| rows in the files | 14 |",
        "| train problems | 4 |",
        "| sha256 of my.jsonl |",
        "| student | zoo/qwen3-0.6b | Apache-2.0",
        "| torch | 2 |",
        "| machine | a machine |",
        "learning_rate",
        "| training examples | 4 |",
    ):
        assert part in body, part
    assert "debate" not in body.split("## Use")[1].split("```yaml")[1]  # there was no debate


@pytest.mark.parametrize(
    "name, says",
    [
        ("Qwen/Qwen3-8B", "Apache-2.0"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "Llama 3"),
        ("some/thing", "https://huggingface.co/some/thing"),
    ],
)
def test_licences(name, says):
    assert says in findings.licence(name)


def test_the_report_escapes_and_needs_nothing(tmp_path):
    text = report.report(finished(tmp_path, 9, 2))
    assert "&lt;b&gt;0" in text and "<b>0" not in text
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text
    assert "<script" not in text and not re.search(r"(?:src|href)=\"(?!data:)", text)


def test_answers_that_changed(tmp_path):
    table = findings.changed(finished(tmp_path, 2, 9))
    assert list(table.now) == ["right"] * 6 and list(table.after) == list(table["gold answer"])
    (tmp_path / "b").mkdir()
    assert list(findings.changed(finished(tmp_path / "b", 3, 1)).now) == ["wrong"] * 2


@pytest.mark.parametrize(
    "make",
    [
        page.paragraph,
        page.listing,
        lambda words: page.table(pd.DataFrame({words: [words]})),
        lambda words: page.page(words, words, {words: ""}),
    ],
)
def test_text_is_escaped(make):
    assert "<i>" not in make("<i>") and "&lt;i&gt;" in make("<i>")


def test_examples_of_debates():
    rounds_by_problem = {
        "a": [[0, 0], [1, 1]],
        "b": [[1, 1]],
        "c": [[1, 0], [0, 0]],
        "d": [[0, 0], [0, 0]],
        "e": [[0, 1], [1, 1]],
    }  # rounds of two agents
    log = pd.DataFrame(
        [
            {"problem": p, "round": k, "agent": a, "correct": bool(right)}
            for p, rounds in rounds_by_problem.items()
            for k, row in enumerate(rounds, 1)
            for a, right in enumerate(row, 1)
        ]
    )
    assert page.examples(log) == {
        "the debate helped": "a",
        "the debate did harm": "c",
        "no agent was right": "d",
        "all agents were right at once": "b",
    }
    assert page.examples(log[log.problem == "b"]) == {"all agents were right at once": "b"}


# From end to end


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.slow
def test_distill_from_end_to_end(tmp_path, capsys, monkeypatch):
    """A killed run resumes after the debate, a finished one does nothing, and another method reuses the debate."""
    rows = [
        {"question": p.question, "answer": int(p.answer), "split": "train" if k < 18 else "dev" if k < 20 else "test"}
        for k, p in enumerate(tasks.problems("mini_gsm", "train", 30))
    ]
    rows += [{"question": "no answer?"}, {"question": "two\nlines?", "answer": "1\n2", "id": "two"}]
    config = yaml.safe_load(MINI.read_text())
    config["debate"] |= {"agents": 2, "rounds": 2}
    config["distill"] |= {"epochs": 1, "lora": {"r": 2, "alpha": 4, "dropout": 0.0, "target_modules": "all-linear"}}
    config["evaluate"] |= {"base_votes": 1, "samples": 0}
    (tmp_path / "fast.yaml").write_text(yaml.safe_dump(config))
    out = tmp_path / "out"
    call = [
        "distill",
        "--train",
        str(write(tmp_path / "my.jsonl", rows)),
        "--teacher",
        LARGE,
        "--student",
        SMALL,
        "--out",
        str(out),
        "--params",
        str(tmp_path / "fast.yaml"),
    ]

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(students, "untrained", killed)
        assert cli.main(call) == 130
    (debates,) = (out / "debates").glob("*.parquet")
    debated = debates.stat().st_mtime_ns
    assert cli.main(call) == 0
    assert debates.stat().st_mtime_ns == debated
    output, progress = capsys.readouterr()
    assert "32 rows: 18 train, 2 dev, 10 held out, 2 not used\n  1 bad rows: no answer: my.jsonl, line 31\n" in progress
    assert "On 10 held-out problems the student answers" in output and str(out / "report.html") in output

    text, html = (out / "README.md").read_text(), (out / "report.html").read_text()
    assert (
        text == (out / "model" / "README.md").read_text()
        and "| train problems | 18 |" in text
        and "library_name: peft" in text
    )
    assert "bad rows: an answer of several lines" in text and "my.jsonl, line 32 (id &#x27;two&#x27;)" in html
    assert html.count("<details>") >= 1 and "data:image/png" in html and "trained with R-SFT" in html
    assert sorted(
        path.suffix for path in (out / "model").iterdir() if path.suffix in (".safetensors", ".bin", ".pt")
    ) == [".safetensors"]
    model, tokenizer = load.load(str(out / "model"))
    assert model.config.vocab_size >= len(tokenizer)

    before = times(out)
    assert cli.main(call) == 0 and times(out) == before
    assert "nothing to do" in capsys.readouterr().err
    assert cli.main([*call, "--method", "sft"]) == 0
    now = times(out)
    assert all(
        now[path] == at
        for path, at in before.items()
        if path.parent.name in ("debates", "traces", "predictions", "data")
    )
    assert "answers only (SFT)" in (out / "README.md").read_text()


@pytest.mark.slow
def test_distill_from_a_teacher_on_a_server(tmp_path, capsys):
    """A name that the server lacks is refused before the debate; passing faults lose nothing; the student learns."""

    def answer(number, body):
        if number % 5 == 2:
            return random.Random(number).choice(list(PASSING.values()))
        asked = re.findall(r"What is (\d+) \+ 1", str(body["messages"]))
        return completion(f"{asked[0]}+1={int(asked[0]) + 1}\nAnswer: {int(asked[0]) + 1}")

    rows = sums(12, split="train") + sums(2, 20, split="dev") + sums(6, 40, split="test")
    values = yaml.safe_load(MINI.read_text())
    values["distill"] |= {"epochs": 1}
    values["evaluate"] |= {"base_votes": 1}
    values["extract"]["decontaminate_words"] = 0
    with FakeServer(answer, model="llama3.2:latest") as server:
        values["debate"] |= {"agents": 2, "rounds": 2, "engine": server.config(retries=6).model_dump()}
        (tmp_path / "served.yaml").write_text(yaml.safe_dump(values))
        call = ["distill", "--train", str(write(tmp_path / "my.jsonl", rows)), "--student", SMALL]
        call += ["--out", str(tmp_path / "out"), "--params", str(tmp_path / "served.yaml"), "--teacher"]
        assert cli.main([*call, "llama3.1"]) == 2 and not server.requests
        assert "llama3.2:latest" in capsys.readouterr().err
        assert cli.main([*call, "llama3.2:latest"]) == 0
        faults = [n for n in range(1, len(server.requests) + 1) if n % 5 == 2]
    output, progress = capsys.readouterr()
    assert "20 rows: 12 train, 2 dev, 6 held out, 0 not used" in progress and "On 6 held-out problems" in output
    (debates,) = (tmp_path / "out" / "debates").glob("*.parquet")
    log = pd.read_parquet(debates)
    written = log[log.agent > 0]
    assert len(faults) >= 5 and len(written) == 12 * 2 == len(server.requests) - len(faults)  # they agree at once
    assert (written.answer == written.gold).all() and set(log.teacher) == {"llama3.2:latest"}
