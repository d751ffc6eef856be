"""Your own questions: good rows are read, and bad ones are listed by line and reason."""

import json

import pytest

from agentark import tasks
from agentark.tasks import jsonl


def write(path, rows) -> str:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n")
    return str(path)


def test_rows_become_problems_and_gold_answers_pass(tmp_path):
    name = write(
        tmp_path / "own.jsonl",
        [{"question": f"{n}+1?", "answer": n + 1, "split": "test" if n > 6 else "train"} for n in range(9)]
        + [
            {
                "question": "Capital of France?",
                "answer": "Paris",
                "split": "dev",
                "solution": "France: Paris.\nAnswer: Paris",
            }
        ],
    )
    grader = tasks.get(name)
    assert grader.sizes == {"train": 7, "dev": 1, "test": 2}
    for split, n in grader.sizes.items():
        for problem in tasks.problems(name, split, n):
            assert grader.verify(problem.solution, problem)[1:] == (True, True)
    paris = tasks.problems(name, "dev", 1)[0]
    assert "Answer:" in grader.prompt(paris)
    assert (
        grader.verify("Answer:  paris.", paris)[1]
        and not grader.verify("Answer: Lyon", paris)[1]
        and not grader.verify("Paris", paris)[2]
    )
    seven = tasks.problems(name, "test", 1)[0]
    assert grader.verify("so 8.0", seven)[1:] == (False, True) and not grader.verify("Answer: 9", seven)[2]


def test_bad_rows_are_listed_by_line_and_reason(tmp_path):
    name = write(
        tmp_path / "bad.jsonl",
        [
            {"question": "1+1?", "answer": 2, "id": "a"},
            {"question": "2+2?"},
            {"answer": 4},
            "{",
            "[1]",
            {"question": "x", "answer": ""},
            {"question": "3?", "answer": 3, "id": "a"},
            {"question": "4?", "answer": 4, "split": "tset"},
            {"question": "0?", "answer": 0},
        ],
    )
    with pytest.raises(ValueError) as error:
        tasks.get(name)
    for part in (
        "7 bad rows",
        "line 3 has no question",
        "line 4 is not JSON",
        "line 5 is not an object",
        "line 2 has no answer (and 1 more: line 6)",
        "line 7 has the id 'a' a second time",
        "line 8 has the unknown split 'tset'",
    ):
        assert part in str(error.value)


def test_a_missing_file_and_too_few_rows_are_reported(tmp_path):
    with pytest.raises(ValueError, match="cannot read the task file"):
        tasks.get(str(tmp_path / "none.jsonl"))
    name = write(tmp_path / "few.jsonl", [{"question": "1+1?", "answer": 2, "split": "train"}])
    with pytest.raises(ValueError, match="has 0 test problems, but 5 were requested"):
        tasks.problems(name, "test", 5)


def test_without_splits_the_hash_of_the_question_decides(tmp_path):
    rows = [{"question": f"question {n}", "answer": n} for n in range(300)]
    forward, back = (jsonl.read(write(tmp_path / f"{k}.jsonl", r)) for k, r in (("a", rows), ("b", rows[::-1])))
    assert {p.question for p in forward["test"]} == {p.question for p in back["test"]}
    assert len(forward["train"]) > 200 and len(forward["dev"]) > 10 and len(forward["test"]) > 10


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (
            ['{"question": "q", "answer": "a", "id": 2}', '{"question": "r", "answer": "a", "id": "2"}'],
            "line 2 has the id '2' a second time",
        ),
        (['{"question": "q", "answer": "a", "solution": 5}'], "line 1 must have a text as its solution"),
        (['{"question": "q\\ud800", "answer": "a"}'], "line 1 contains half a character"),
    ],
)
def test_rows_that_would_fail_later(tmp_path, rows, reason):
    (tmp_path / "x.jsonl").write_text("\n".join(rows))
    with pytest.raises(ValueError, match=reason):
        jsonl.read(str(tmp_path / "x.jsonl"))


def test_a_line_separator_within_a_text_ends_no_row(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"question": "one\u2028two", "answer": "3", "split": "test"}\n')
    assert jsonl.read(str(tmp_path / "x.jsonl"))["test"][0].question == "one\u2028two"
