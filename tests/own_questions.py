"""Files of sums as one's own questions, for the tests of `agentark distill`."""

import json

from agentark.own_data import data


def write(path, rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def sums(n, first=0, **more):
    return [{"question": f"What is {k} + 1?", "answer": k + 1, **more} for k in range(first, first + n)]


def prepared(tmp_path, rows, test=None, limit=0):
    names = [str(write(tmp_path / "my.jsonl", rows)), test and str(write(tmp_path / "other.jsonl", test))]
    return data.write_copy(data.gather(*names, limit, 0.95), tmp_path / "out")
