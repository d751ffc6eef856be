"""The questions of `agentark distill`: splits, held-out and unused rows, the copy, and rows that are too long."""

import hashlib
import json
import os
import re
import threading
from dataclasses import replace

import pandas as pd
import pytest
import yaml
from own_questions import prepared, sums, write

from agentark import params, store, tasks
from agentark.cells import Cell, Files
from agentark.evaluate.jobs import PREDICTIONS
from agentark.own_data import data, lengths
from agentark.tasks import jsonl, question_files

MINI = store.ROOT / "params" / "mini.yaml"
SMALL, LARGE = "zoo/qwen3-0.6b", "zoo/qwen3-32b"


def questions(own, split):
    return {p.question for p in tasks.problems(own.task, split, own.sizes[split])}


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


def test_a_study_refuses_questions_of_a_file_that_are_too_long_before_it_generates(tmp_path):
    """Of every split, for the debate; in a table as well as in JSON Lines, by the place of each row."""
    rows = sums(2, split="train") + sums(2, 20, split="dev") + sums(2, 40, split="test")
    table = tmp_path / "my.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    values = yaml.safe_load(MINI.read_text())
    values["study"] |= {"train_tasks": [str(table)], "test_tasks": [str(table)], "methods": ["rsft"]}
    values["sizes"] = {"train": 2, "dev": 2, "test": 2, "debate_test": 2}
    config = params.check(values, "test")[0]
    lengths.check_study(config, 0)

    long = {"question": "What is 1 + 1? " * 200, "answer": 2}
    pd.DataFrame([{**long, "split": "test"}, {**long, "split": "train"}, *rows]).to_csv(table, index=False)
    with pytest.raises(params.ParamsError) as refused:
        lengths.check_study(config, 0)
    assert re.fullmatch(
        rf"{table} has 2 bad rows: row 2 .*has [\d,]+ tokens in the debate, more than the teacher's context of 4,096 "
        r"\(and 1 more: row 1.*\); correct or remove them",
        str(refused.value),
    )
    values["debate"]["agents"] = 2  # has room for the replies; the student's training and answers have none to spare
    with pytest.raises(params.ParamsError, match=r"1 bad row: .* tokens in training, more than distill.max_length"):
        lengths.check_study(params.check(values, "test")[0], 0)
