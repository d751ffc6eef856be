"""Tests of `agentark distill`: held-out and unused data, the model card and the report, and a run from end to end."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import replace

import pandas as pd
import pytest
import yaml

from agentark import cli, params, store, tasks
from agentark.cells import Cell, Files
from agentark.evaluate import students
from agentark.evaluate.jobs import PREDICTIONS
from agentark.models import load
from agentark.own_data import card, data, findings, lengths, pipeline, publish, report
from agentark.report import page
from agentark.tasks import jsonl, question_files

MINI = store.ROOT / "params" / "mini.yaml"
SMALL, LARGE = "zoo/qwen3-0.6b", "zoo/qwen3-32b"


def write(path, rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def sums(n, first=0, **more):
    return [{"question": f"What is {k} + 1?", "answer": k + 1, **more} for k in range(first, first + n)]


def prepared(tmp_path, rows, test=None, limit=0):
    names = [str(write(tmp_path / "my.jsonl", rows)), test and str(write(tmp_path / "other.jsonl", test))]
    return data.write_copy(data.gather(*names, limit, 0.95), tmp_path / "out")


def questions(own, split):
    return {p.question for p in tasks.problems(own.task, split, own.sizes[split])}


# Data


def test_named_splits_are_kept(tmp_path):
    own = prepared(tmp_path, sums(9, split="train") + sums(7, 9, split="test") + sums(1, 16, split="dev"))
    assert own.sizes == {"train": 9, "dev": 1, "test": 7} and own.rows == 17 and not any(own.dropped.values())
    assert questions(own, "dev") == {"What is 16 + 1?"}


def test_a_test_file_is_the_whole_held_out_split(tmp_path):
    named = sums(1, 900, split="test")
    own = prepared(tmp_path, sums(200) + named, sums(8, 500) + sums(2, 600, split="train"))
    assert own.sizes["test"] == 8 and own.sizes["train"] + own.sizes["dev"] == 200
    assert own.dropped[data.NAMED_TEST] == 1 and own.dropped[data.NOT_TEST] == 2
    assert questions(own, "test") == {f"What is {k} + 1?" for k in range(500, 508)}
    assert set(own.files) == {"my.jsonl", "other.jsonl"}


def test_a_held_out_question_is_no_training_question(tmp_path):
    again = [
        {"question": "  what is 20 + 1? ", "answer": 21, "split": "train"},
        {"question": "What is 1 + 1?", "answer": 2, "split": "train"},
    ]
    own = prepared(tmp_path, sums(5, split="train") + sums(6, 20, split="test") + again)
    assert own.dropped[data.HELD_OUT] == 1 and own.dropped[data.REPEATED] == 1
    assert own.sizes["train"] == 5 and not questions(own, "train") & questions(own, "test")


def test_the_limit_is_of_each_split_and_counted(tmp_path):
    own = prepared(tmp_path, sums(10, split="train") + sums(9, 10, split="test"), limit=7)
    assert own.sizes == {"train": 7, "dev": 0, "test": 7} and own.dropped[data.LIMITED] == 3 + 2


def test_other_questions_are_another_task(tmp_path):
    rows = sums(5, split="train") + sums(6, 20, split="test")
    first, again = prepared(tmp_path, rows), prepared(tmp_path, rows)
    (tmp_path / "b").mkdir()
    changed = write(tmp_path / "b" / "my.jsonl", [{**rows[0], "answer": 99}, *rows[1:]])
    other = data.write_copy(data.gather(str(changed), None, 0, 0.95), tmp_path / "out")
    assert first.task == again.task != other.task


def test_words_in_common_are_counted(tmp_path):
    long = "Tom has a box with {} red marbles and gives two of them away. How many are left?"
    rows = [
        {"question": long.format(k), "answer": k - 2, "split": "train" if k < 13 else "test"} for k in range(10, 20)
    ]
    assert prepared(tmp_path, rows + sums(4, split="train")).overlap == 3


@pytest.mark.parametrize(
    "rows, sentence",
    [
        (sums(9, split="test"), "has no training rows"),
        (
            sums(9, split="train") + sums(5, 9, split="test"),
            r"has 5 held-out problems, but fewer than 6 cannot show a difference",
        ),
        ([{"question": "1?"}, "{", *sums(3)], r"2 bad rows: line 1 has no answer; line 2 is not JSON"),
        ([{"question": "1?", "answer": 1, "id": "2"}, *sums(1, id=2)], "line 2 has the id '2' a second time"),
    ],
)
def test_invalid_data(tmp_path, rows, sentence):
    with pytest.raises(params.ParamsError, match=sentence):
        prepared(tmp_path, rows)
    assert not (tmp_path / "out").exists()


def test_bad_rows_are_left_out_counted_and_listed(tmp_path):
    """A thousand rows, of which one in twenty is bad: a report with counts and the first places of each kind."""
    bad = [
        lambda k: {"question": f"bad {k}?", "id": f"b{k}"},
        lambda k: "{",
        lambda k: f'{{"question": "bad {k}?", "answer": NaN}}',
        lambda k: {"question": f"bad {k}?", "answer": "one\ntwo"},
        lambda k: {"question": f"bad {k}?", "answer": 1, "options": ["x"]},
    ]
    rows = [bad[k // 20 % 5](k) if k % 20 == 7 else sums(1, k)[0] for k in range(1000)]
    own = prepared(tmp_path, rows)
    kinds = ("no answer", "not JSON", "NaN or Infinity", "an answer of several lines", "too few or too many options")
    assert {own.dropped[f"bad rows: {kind}"] for kind in kinds} == {10} and sum(own.dropped.values()) == 50
    assert own.rows == 1000 and sum(own.sizes.values()) == 950
    report = own.report().splitlines()
    assert report[0].startswith("1000 rows: ") and report[0].endswith("held out, 50 not used")
    places = "line 8 (id 'b7'); my.jsonl, line 108 (id 'b107'); my.jsonl, line 208 (id 'b207')"
    assert f"  10 bad rows: no answer: my.jsonl, {places}" in "\n".join(report) and report[1].endswith("; …")
    assert report[-1] == f"  all of them: {own.unused}"
    table = pd.read_csv(own.unused)
    assert len(table) == 50 and table.place[1] == "my.jsonl, line 28" and "is not JSON" in table.detail[1]


def test_without_unused_rows_the_report_is_one_line(tmp_path):
    own = prepared(tmp_path, sums(9, split="train") + sums(7, 9, split="test"))
    assert own.report() == "16 rows: 9 train, 0 dev, 7 held out, 0 not used" and len(pd.read_csv(own.unused)) == 0


def test_more_than_a_tenth_of_bad_rows_is_refused(tmp_path):
    rows = sums(80, split="train") + sums(10, 80, split="test")
    assert prepared(tmp_path, rows + ["{"] * 10).rows == 100
    with pytest.raises(params.ParamsError, match=r"has 11 bad rows: line 91 is not JSON .* \(at most 10 % of the rows"):
        prepared(tmp_path, rows + ["{"] * 11)


def test_a_question_with_two_answers_is_not_used(tmp_path):
    """It is unknown which answer is right, also if one row is held out and the other is not."""
    rows = sums(9, split="train") + sums(7, 20, split="test")
    more = [{"question": "what is 20 + 1?", "answer": 5, "split": "train"}, {**rows[3], "answer": "4.0"}]
    own = prepared(tmp_path, rows + more + [{**rows[0], "answer": 7}])
    assert own.dropped[data.CONFLICTING] == 4 and own.dropped[data.REPEATED] == 1
    assert own.sizes == {"train": 8, "dev": 0, "test": 6}
    assert own.places[data.CONFLICTING] == [f"my.jsonl, line {k}" for k in (10, 1, 17, 19)]


def test_two_files_of_one_base_name_and_the_same_ids(tmp_path):
    rows, other = sums(40), sums(8, 100)
    rows = [{**row, "id": name} for row, name in zip(rows, [*map(str, range(39)), "test/0"], strict=True)]
    other = [{**row, "id": name} for row, name in zip(other, ["0", "test/0", *range(2, 8)], strict=True)]
    (tmp_path / "held").mkdir()
    train, test = write(tmp_path / "my.jsonl", rows), write(tmp_path / "held" / "my.jsonl", other)
    own = data.write_copy(data.gather(str(train), str(test), 0, 0.95), tmp_path / "out")
    assert set(own.files) == {str(train), str(test)} and len(set(own.files.values())) == 2
    problems = [p for split in own.sizes for p in tasks.problems(own.task, split, own.sizes[split])]
    assert len({p.id for p in problems}) == 48 and own.sizes["test"] == 8


def test_one_file_for_training_and_test_has_nothing_to_learn_from(tmp_path):
    rows = write(tmp_path / "my.jsonl", sums(40))
    with pytest.raises(params.ParamsError, match="no training rows .* 40 training questions that are also held out"):
        data.gather(str(rows), str(rows), 0, 0.95)


def test_the_copy_has_the_same_problems(tmp_path):
    rows = [
        {"question": "Which?", "options": {"x": "B", "y": "A"}, "answer": "x"},
        {"question": "How many?", "answer": "3+4=<<3+4=7>>7\n#### 7"},
        {"question": "How small?", "answer": 1e-7, "solution": "very small"},
        {"question": 'Say "a\u2028b".', "answer": "a\u2028b"},
    ]
    rows = [{**row, "id": k, "split": "train"} for k, row in enumerate(rows)]
    own = prepared(tmp_path, rows + sums(6, split="test"))
    read = question_files.read(str(tmp_path / "my.jsonl"), jsonl.parse, jsonl.equal).good
    copied = tasks.problems(own.task, "train", 4)
    assert [p.id.split("/")[1] for p in copied] == ["0", "1", "2", "3"]
    assert [replace(p, id="") for p in copied] == [replace(row.problem, id="") for row in read[:4]]
    assert copied[0].options == ("B", "A") and copied[0].answer == "A"


@pytest.mark.parametrize("stem", ["x" * 200, "ä" * 120, "年" * 80, "a b'c\"d", ".", "--"])
def test_any_file_name(tmp_path, stem):
    """All names of results fit into the 255 bytes of a file's name."""
    path = write(tmp_path / f"{stem}.jsonl", sums(40) + sums(6, 40, split="test"))
    own = data.write_copy(data.gather(str(path), None, 0, 0.95), tmp_path / "out")
    cell = Cell(
        "HuggingFaceTB/SmolLM2-135M-Instruct", "HuggingFaceTB/SmolLM2-135M-Instruct", "rsft", own.task, own.task
    )
    name = store.manifest_path(Files(tmp_path).path(PREDICTIONS, cell)).name
    assert len(f".{name}.{10**7}".encode()) < 255 and own.sizes["train"] > 30


def test_a_pipe_is_read_once(tmp_path):
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    text = "".join(json.dumps(row) + "\n" for row in sums(9, split="train") + sums(6, 9, split="test"))
    writer = threading.Thread(target=fifo.write_text, args=[text], daemon=True)
    writer.start()
    own = data.write_copy(data.gather(str(fifo), None, 0, 0.95), tmp_path / "out")
    writer.join()
    assert own.sizes == {"train": 9, "dev": 0, "test": 6}
    assert own.files == {"pipe": hashlib.sha256(text.encode()).hexdigest()}


def test_questions_that_are_too_long_are_left_out_before_the_debate(tmp_path):
    """For the teacher's context in the debate, for the student's training and for its context at the test."""
    long = {"id": "long", "question": "What is 1 + 1? " * 400, "answer": 2}
    longer = {**long, "question": "What is 1 + 1? " * 2000}
    rows = sums(9, split="train") + sums(8, 20, split="test")
    rows += [
        {**long, "split": "train"},
        {**longer, "id": "longer", "split": "test"},
        {**sums(1, 50)[0], "split": "dev"},
    ]
    questions = data.gather(str(write(tmp_path / "my.jsonl", rows)), None, 0, 0.95)
    config = params.load(MINI)[0]
    measured = lengths.too_long(jsonl.of("my.jsonl"), LARGE, SMALL, config, False)
    data.leave_out(questions, measured, 0.95)
    own = data.write_copy(questions, tmp_path / "out")
    assert own.sizes == {"train": 9, "dev": 1, "test": 8} and own.dropped[data.TOO_LONG] == 2
    assert own.places[data.TOO_LONG] == ["my.jsonl, line 18 (id 'long')", "my.jsonl, line 19 (id 'longer')"]
    table = pd.read_csv(own.unused).detail
    assert re.fullmatch(r"[\d,]+ tokens in the debate, more than the teacher's context of 4,096", table[0])
    assert re.fullmatch(r"[\d,]+ tokens in evaluation, more than the student's context of 4,096", table[1])

    only_student = lengths.too_long(jsonl.of("my.jsonl"), None, SMALL, config, False)
    problem = tasks.Problem("a", "What is 1 + 1? " * 90, "2", "Answer: 2")
    assert only_student("train", [problem]) and "distill.max_length = 512" in only_student("train", [problem])[0]
    assert lengths.too_long(jsonl.of("my.jsonl"), None, SMALL, config, True)("train", [problem]) == [""]


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
