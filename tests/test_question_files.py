"""Files of one's own questions: what a row may contain, and in which sentence a row or a whole file is refused."""

import gzip
import json
import re

import pandas as pd
import pytest

from agentark import tasks
from agentark.tasks import jsonl, own_rows, question_files
from agentark.tasks.problem import Problem
from agentark.tasks.row_files import RowError


def lines(*rows) -> bytes:
    texts = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    return ("\n".join(texts) + "\n").encode("utf-8", "surrogatepass")


def row(**more) -> dict:
    return {"question": "Extra?", "answer": 3, **more}


def read(path) -> question_files.Rows:
    return question_files.read(str(path), jsonl.parse, jsonl.equal)


def good(tmp_path, *rows) -> list[Problem]:
    """The problems of rows, all of which have to be good."""
    (tmp_path / "x.jsonl").write_bytes(lines(*rows))
    found = read(tmp_path / "x.jsonl")
    assert not found.bad
    return [each.problem for each in found.good]


# Good rows


@pytest.mark.parametrize(
    "answer, text",
    [
        ("1e-7", "0.0000001"),
        ("2.5e3", "2500"),
        ("1E22", "10000000000000000000000"),
        ("0.10", "0.10"),
        ("12345678901234567891", "12345678901234567891"),
        ("-0.5", "-0.5"),
        ("7" * 900, "7" * 900),
        ("true", "True"),
        ('" a\\tb\\u2028c "', "a b c"),
        ('"Answer: 12"', "12"),
        ('"2 + 3 = 5, times 4 is 20\\nFinal answer: 20"', "20"),
        ('"3 + 4 = <<3+4=7>>7 apples\\n#### 7"', "7"),
        ('"3 + 4 = 7 #### 7"', "7"),
        ('"#### 1,234"', "1,234"),
    ],
)
def test_the_answer_of_a_row(tmp_path, answer, text):
    (problem,) = good(tmp_path, f'{{"question": "q", "answer": {answer}}}')
    assert problem.answer == text and problem.solution.splitlines()[-1] == f"Answer: {text}"


@pytest.mark.parametrize(
    "more, solution",
    [
        ({}, "Answer: 3"),
        ({"solution": None}, "Answer: 3"),
        ({"solution": " \n"}, "Answer: 3"),
        ({"solution": "1+2=3\nThis is easy to check."}, "1+2=3\nThis is easy to check.\nAnswer: 3"),
        (
            {"solution": "1+2=3\nAnswer: 3\nThis is easy to check."},
            "1+2=3\nAnswer: 3\nThis is easy to check.\nAnswer: 3",
        ),
        ({"solution": "1+2=3\nAnswer: 3\n\n \n"}, "1+2=3\nAnswer: 3"),
        ({"solution": "1+2=<<1+2=3>>3\n#### 3"}, "1+2=3\nAnswer: 3"),
        ({"solution": "1+2=3 \u2028Answer: 3"}, "1+2=3 \nAnswer: 3"),
        ({"answer": "1+2=<<1+2=3>>3\n#### 3"}, "1+2=3\nAnswer: 3"),
        ({"answer": "#### 3", "solution": "one, two, three"}, "one, two, three\nAnswer: 3"),
        ({"answer": "1+2=3\nAnswer: 3"}, "1+2=3\nAnswer: 3"),
    ],
)
def test_a_solution_ends_in_its_answer(tmp_path, more, solution):
    """Answer-only SFT teaches the last line of a solution: it is the answer, and no other line is lost."""
    (problem,) = good(tmp_path, row(**more))
    assert problem.solution == solution


@pytest.mark.parametrize("key", ["options", "choices"])
@pytest.mark.parametrize(
    "options, answer, letter",
    [
        (["red", "green", "blue"], "B", "B"),
        (["red", "green", "blue"], "(b)", "B"),
        (["red", "green", "blue"], 1, "B"),
        (["red", "green", "blue"], "2", "C"),
        (["red", "green", "blue"], "Green ", "B"),
        (["red", "green", "blue"], "B. green", "B"),
        (["A. red", "B. green", "C. blue"], "C", "C"),
        ([10, 20, 30], 20, "B"),
        ([0.5, 1e-3], "B", "B"),
        ({"A": "red", "B": "green", "C": None}, "B", "B"),
        ({"1": "red", "2": "green"}, 1, "A"),
        ({"A": "B", "B": "A"}, "A", "A"),
        ({"label": ["1", "2", "3"], "text": ["red", "green", "blue"]}, "3", "C"),
        ([{"label": "x", "text": "red"}, {"label": "y", "text": "green"}], "Y", "B"),
    ],
)
def test_options_are_shown_and_the_answer_is_a_letter(tmp_path, key, options, answer, letter):
    (problem,) = good(tmp_path, {"question": "Which?", "answer": answer, key: options})
    assert problem.answer == letter and problem.solution == f"Answer: {letter}"
    shown = problem.question.splitlines()
    assert shown[0] == "Which?" and [line[:3] for line in shown[1:]] == ["A. ", "B. ", "C. "][: len(shown) - 1]
    assert [line[3:] for line in shown[1:]] == list(problem.options) and len(problem.options) >= 2
    task = jsonl.of("x.jsonl")
    assert task.verify(f"So it is that.\nAnswer: {letter}", problem)[1:] == (True, True)
    text = problem.options["ABC".index(letter)]
    assert task.verify(f"Answer: {text}", problem)[2] or text == "B"  # here a letter, which names the other option
    assert not task.verify(f"Answer: {'B' if letter == 'A' else 'A'}", problem)[2]


@pytest.mark.parametrize("options", [None, [], "", {}])
def test_a_row_without_options_is_an_open_question(tmp_path, options):
    (problem,) = good(tmp_path, row(options=options))
    assert problem.question == "Extra?" and problem.options == ()


def test_options_that_the_question_lists_are_not_listed_twice(tmp_path):
    (problem,) = good(tmp_path, {"question": "Which?\nA. x\nB. y", "options": ["x", "y"], "answer": "A"})
    assert problem.question == "Which?\nA. x\nB. y"


@pytest.mark.parametrize(
    "ids, names",
    [
        ([None, None], ["1", "2"]),
        (["", " "], ["1", "2"]),
        (["2", None], ["2", "row 2"]),
        (["row 2", "2", None, 3], ["row 2", "2", "row 3", "3"]),
        (["test/0", "0"], ["test/0", "0"]),
        ([1, 1.5, "a/b"], ["1", "1.5", "a/b"]),
    ],
)
def test_ids(tmp_path, ids, names):
    problems = good(tmp_path, *({**row(question=f"{k}?"), "id": name} for k, name in enumerate(ids)))
    assert [problem.id for problem in problems] == names


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"\n", b"\r"),
        lambda data: b"\n\n" + data + b" \n",
        lambda data: (
            data + b"\xef\xbb\xbf" + lines(row(question="third?"))
        ),  # two files with a mark, one after the other
        lambda data: data.rstrip(),
    ],
)
def test_marks_and_ends_of_lines(tmp_path, change):
    (tmp_path / "x.jsonl").write_bytes(change(lines(row(question="first?"), row(question="a\u2028b?"))))
    found = read(tmp_path / "x.jsonl")
    assert not found.bad and [each.problem.question for each in found.good][:2] == ["first?", "a\u2028b?"]


# Bad rows


@pytest.mark.parametrize(
    "bad, sentence",
    [
        ('{"question": "q", "answer": NaN}', "contains NaN"),
        ('{"question": "q", "answer": -Infinity}', "contains -Infinity"),
        ('{"question": "q", "answer": 1, "score": [{"x": NaN}]}', "contains NaN"),
        ('{"question": "q", "answer": 1, "answer": 2}', "has the key 'answer' twice"),
        ('{"question": "q", "answer": 1, "x": {"a": 1, "a": 1}}', "has the key 'a' twice"),
        ('{"question": "q", "answer": 1, "x": ' + "[" * 9000 + "]" * 9000 + "}", "is nested too deeply"),
        ('{"question": "q", "answer": 1, "x": ' + '{"a":' * 9000 + "1" + "}" * 9001, "is nested too deeply"),
        ('{"question": "q", "answer": ' + "7" * 5000 + "}", "has a number of 5,000 digits as its answer"),
        ('{"question": "q", "answer": 1e999999999}', "has a number of 1,000,000,000 digits as its answer"),
        ('{"question": "q", "answer": 1e-5000}', "digits as its answer"),
        ('{"question": "q", "answer": 1e99999999999999999999}', "has a number that is too large"),
        (row(answer="x" * 1001), "has an answer of 1,001 characters"),
        (row(answer="one\ntwo"), "has an answer of several lines"),
        (row(answer="so\n#### 3\nand more"), "has an answer of several lines"),
        (row(answer="so ####  "), "has no answer after the ####"),
        (row(answer=[3]), "and a text or a number as its answer"),
        (row(answer={"value": 3}), "and a text or a number as its answer"),
        (row(answer=None), "has no answer"),
        (row(answer=" "), "has no answer"),
        ({"Question": "q", "answer": 3}, "has no question (rename the right one of its keys 'Question')"),
        ({"question": "q", "answerKey": "B"}, "has no answer (rename the right one of its keys 'answerKey')"),
        (row(question=["q"]), "must have a text as its question"),
        (row(solution=["1+2=3"]), "must have a text as its solution"),
        (row(solution="1+2=4\nAnswer: 4"), "has the answer '3', but its solution ends in '4'"),
        (row(solution="1+2=4\n#### 4"), "has the answer '3', but its solution ends in '4'"),
        (row(answer="1+2=4\n#### 4", solution="Answer: 3"), "has the answer '4', but its solution ends in '3'"),
        (row(split="validation"), "has the unknown split 'validation' instead of train, dev, test"),
        (row(split=["train"]), "has the unknown split ['train']"),
        (row(id=["a"]), "must have a text or a number as its id"),
        (row(id=True), "must have a text or a number as its id"),
        ('{"question": "q", "answer": "\\ud800"}', "contains half a character"),
        ('{"question": "q", "answer": 1, "id": "\\udfff"}', "contains half a character"),
        ('{"question": "q", "answer": 1, "solution": "\\ud800 "}', "contains half a character"),
        ('{"question": "q", "answer": "A", "options": ["\\ud800", "b"]}', "contains half a character"),
        ('{"question": "q", "answer": 1} {"question": "r", "answer": 2}', "is not JSON (Extra data)"),
        ('{"question": "q", "answer": 1},', "is not JSON (Extra data)"),
        ("{'question': 'q', 'answer': 1}", "is not JSON"),
        ("null", "is not an object"),
        ('["q", 1]', "is not an object"),
        (row(options=["x", "y"], answer="z"), "has the answer 'z', which means none of its 2 options"),
        (row(options=["x", "y"], answer=2), "has the answer '2', which means none of its 2 options"),
        (row(options=["1", "2", "3"], answer=2), "has the answer '2', which means several of its 3 options"),
        (row(options=["B", "A"], answer="A"), "has the answer 'A', which means several of its 2 options"),
        (row(options=["x"], answer="A"), "has 1 options, and 2 to 10 are possible"),
        (row(options=["x"] * 11, answer="A"), "has 11 options, and 2 to 10 are possible"),
        (row(options="A. x B. y", answer="A"), "must have a list of texts, or an object"),
        (row(options=["x", ["y"]], answer="A"), "must have a list of texts, or an object"),
        (row(options=["x", None], answer="A"), "must have a list of texts, or an object"),
        (row(options={"text": ["x", "y"], "label": ["A"]}, answer="A"), "must have a list of texts, or an object"),
        (row(options=["x", " "], answer="A"), "has an empty option"),
        (row(options=["x", "y"], choices=["y", "x"], answer="A"), "has options and choices that differ"),
    ],
)
def test_a_bad_row_has_a_place_and_a_reason(tmp_path, bad, sentence):
    """The study refuses the file; the good rows beside it are read for `agentark distill`."""
    (tmp_path / "x.jsonl").write_bytes(lines(row(question="first?", id="a"), bad))
    found = read(tmp_path / "x.jsonl")
    assert [each.problem.id for each in found.good] == ["a"]
    with pytest.raises(ValueError, match=re.escape(sentence)) as error:
        tasks.get(str(tmp_path / "x.jsonl"))
    message = str(error.value)
    assert " has 1 bad row: line 2 " in message and message.endswith("; correct or remove it") and len(message) < 500
    assert "\n" not in message


@pytest.mark.parametrize("how", ["parse", "equal"])
def test_an_answer_has_to_pass_its_own_check(how):
    parse, equal = jsonl.parse, jsonl.equal
    if how == "parse":
        parse = lambda text, problem: tasks.Parsed(None, "3")  # noqa: E731
    else:
        equal = lambda gold, answer: False  # noqa: E731
    with pytest.raises(RowError, match="has an answer that its own check does not accept as right"):
        own_rows.problem(row(), "a", parse, equal)


def test_the_same_question_with_two_answers_is_refused(tmp_path):
    rows = [
        row(id="a"),
        row(question="other?"),
        row(question=" extra?", answer="3.0"),
        row(question="EXTRA?", answer=4),
    ]
    (tmp_path / "x.jsonl").write_bytes(lines(*rows[:3]))
    assert sum(tasks.get(str(tmp_path / "x.jsonl")).sizes.values()) == 3
    (tmp_path / "y.jsonl").write_bytes(lines(*rows))
    with pytest.raises(ValueError, match=r"line 1 \(id 'a'\) has the same question as line 3, but another answer"):
        tasks.get(str(tmp_path / "y.jsonl"))


def test_an_id_of_a_bad_row_is_free_for_a_good_one(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(lines({"question": "q", "id": "a"}, row(id="a")))
    found = read(tmp_path / "x.jsonl")
    assert [bad.place for bad in found.bad] == ["line 1 (id 'a')"] and len(found.good) == 1


def test_many_bad_rows_are_counted_by_kind(tmp_path):
    rows = [{"question": f"{k}?"} if k % 2 else row(question=f"{k}?", split="tset", id=f"r{k}") for k in range(100)]
    (tmp_path / "x.jsonl").write_bytes(lines(*rows))
    with pytest.raises(ValueError) as error:
        tasks.get(str(tmp_path / "x.jsonl"))
    assert str(error.value).endswith(
        "has 100 bad rows: line 1 (id 'r0') has the unknown split 'tset' instead of train, dev, test (and 49 more: line 3 "
        "(id 'r2'), line 5 (id 'r4'), line 7 (id 'r6'), line 9 (id 'r8'), …); line 2 has no answer (and 49 more: line 4, "
        "line 6, line 8, line 10, …); correct or remove them"
    )


# Files that are refused as a whole

ROWS = [row(question=f"{k}?") for k in range(5)]


@pytest.mark.parametrize(
    "data, sentence",
    [
        (lines(*ROWS).decode().encode("utf-16"), "is UTF-16, not UTF-8: convert it with iconv -f UTF-16 -t UTF-8 "),
        (lines(*ROWS).decode().encode("utf-16-le"), "is UTF-16LE, not UTF-8: convert it with iconv"),
        (lines(*ROWS).decode().encode("utf-16-be"), "is UTF-16BE, not UTF-8: convert it with iconv"),
        (lines(*ROWS).decode().encode("utf-32"), "is UTF-32, not UTF-8: convert it with iconv"),
        (
            lines(row(question="café?")).decode().encode("latin-1"),
            "line 1 is not UTF-8 (byte 0xe9; if the file is Latin-1",
        ),
        (gzip.compress(lines(*ROWS), mtime=0), "is compressed with gzip, not JSON Lines: unpack it with gunzip"),
        (b"PK\x03\x04....", "is a ZIP archive or a spreadsheet"),
        (b"PAR1....", "is a Parquet file, not JSON Lines: give it a name that ends in .parquet"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (json.dumps(ROWS).encode(), "is one JSON array, not JSON Lines: convert it with jq -c '.[]' "),
        (json.dumps(ROWS, indent=2).encode(), "is one JSON array, not JSON Lines"),
        ("[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]", "is one JSON array, not JSON Lines"),
        ("\n".join(json.dumps(each, indent=2) for each in ROWS), "has JSON objects over several lines"),
        ("question,answer\n1?,3\n", "is a table (CSV), not JSON Lines: give it a name that ends in .csv"),
        ('id;"Question";"Answer"\n1;1?;3\n', "is a table (CSV), not JSON Lines"),
        (b"", "is empty: it must be JSON Lines"),
        (b"\xef\xbb\xbf \n\n", "is empty: it must be JSON Lines"),
    ],
)
def test_another_kind_of_file_is_named_with_its_remedy(tmp_path, data, sentence):
    name = tmp_path / "it's mine.jsonl"
    name.write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(ValueError, match=re.escape(sentence)) as error:
        tasks.get(str(name))
    assert str(error.value).startswith(str(name)) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["none.jsonl", ".", "none.csv", "none.parquet", "a\0b.jsonl", "x" * 300 + ".jsonl"])
def test_a_file_that_is_not_there(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="^cannot read the task file .*: (give a file of it|check its name)"):
        read(name)


def test_a_modified_file_is_read_again_and_is_another_source(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(lines(*ROWS))
    before = tasks.get(str(path)).sizes, tasks.sources(str(path))["problems"]
    path.write_bytes(lines(*ROWS, row(question="new?")))
    after = tasks.get(str(path)).sizes, tasks.sources(str(path))["problems"]
    assert sum(after[0].values()) == sum(before[0].values()) + 1 and before[1] != after[1]


# Tables, through the datasets library


@pytest.mark.parametrize(
    "text",
    [
        'question,answer,id\n"one, or two?",007,\nb?,NA,7\n"two\nlines?",123456789012345678901,8\n',
        'question;answer;id\n"one, or two?";007;\nb?;NA;7\n"two\nlines?";123456789012345678901;8\n',
        '\ufeffid\tquestion\tanswer\n\tone, or two?\t007\n7\tb?\tNA\n8\t"two\nlines?"\t123456789012345678901\n',
    ],
)
def test_a_csv_has_texts_as_they_stand_there(tmp_path, text):
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    found = read(tmp_path / "x.csv")
    assert [(each.problem.question, each.problem.answer) for each in found.good] == [
        ("one, or two?", "007"),
        ("b?", "NA"),
        ("two\nlines?", "123456789012345678901"),
    ]
    assert [each.problem.id for each in found.good] == ["1", "7", "8"] and found.good[1].place == "row 2 (id '7')"


@pytest.mark.parametrize(
    "data, sentence",
    [
        ("question,answer\nwhat, if?,3\n", "a row has more cells than the header"),
        ("question,answer\n", "has no rows"),
        ("", "cannot be read"),
        (
            "question,answer\ncafé?,3\n".encode("latin-1"),
            "is not UTF-8 (line 2): if it is Latin-1, convert it with iconv",
        ),
        ("question,answer\na?,3\n".encode("utf-16"), "is UTF-16, not UTF-8"),
        (gzip.compress(b"question,answer\na?,3\n", mtime=0), "is compressed with gzip, not CSV"),
    ],
)
def test_a_csv_that_cannot_be_read(tmp_path, data, sentence):
    (tmp_path / "x.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(ValueError, match=re.escape(sentence)) as error:
        read(tmp_path / "x.csv")
    assert "\n" not in str(error.value)


def test_parquet_follows_the_same_rules(tmp_path):
    rows = {"question": ["a?", "b?", "c?", "d?"], "answer": [1e-7, float("nan"), 2.0, None]}
    rows |= {"options": [None, None, ["1.5", "2.0"], None]}
    pd.DataFrame(rows).to_parquet(tmp_path / "x.parquet")
    found = read(tmp_path / "x.parquet")
    assert [(p.answer, p.options) for _, p, _, _ in found.good] == [("0.0000001", ()), ("B", ("1.5", "2.0"))]
    assert {bad.place for bad in found.bad} == {"row 2", "row 4"}
    (tmp_path / "y.parquet").write_bytes(b"no table")
    with pytest.raises(ValueError, match="y.parquet cannot be read .*: check that it is such a file"):
        read(tmp_path / "y.parquet")


def test_a_dataset_of_the_hub_follows_the_same_rules(tmp_path, monkeypatch):
    """A folder owner/name in the working directory stands for the Hub, which the tests do not reach."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    for split, n in (("train", 3), ("validation", 2), ("test", 1)):
        rows = [{"question": f"{split} {k}?", "answer": k} for k in range(n)]
        (folder / f"{split}.jsonl").write_bytes(lines(*rows))
    found = read("hf://owner/name")
    assert not found.bad and [each.split for each in found.good] == ["train"] * 3 + ["dev"] * 2 + ["test"]
    assert found.good[3].place == "row 1 of dev" and all(each.is_named for each in found.good)
    one = read("hf://datasets/owner/name/test.jsonl")
    assert [each.place for each in one.good] == ["line 1"] and not one.good[0].is_named
