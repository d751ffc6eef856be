"""Strict reading of params files: what YAML reads otherwise than a person is refused with its line, and nothing crashes."""

import random
import re

import pytest
import yaml

from agentark import notebook, params, store
from agentark.params import ParamsError, yaml_file

FILES = sorted((store.ROOT / "params").glob("*.yaml"))
MINI = (store.ROOT / "params" / "mini.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_committed_files_are_read_as_other_readers_do(path):
    text = path.read_text(encoding="utf-8")
    content, lines = yaml_file.parse(text, path.name)
    assert content == yaml.safe_load(text)
    for place, line in lines.items():  # each key stands on its line, or is merged from another mapping
        assert isinstance(place[-1] if place else 0, int) or str(place[-1]) in text.splitlines()[line - 1], place


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: {c: 1}\na: 2", "line 3: the key a stands in line 1 as well: remove one"),
        ("a:\n  b: 1\n  c: 2\n  b: 3", "line 4: the key a.b stands in line 2 as well"),
        ("{1: a, 1: b}", "line 1: the key 1 stands in line 1 as well"),
        ("a: 010", "a is 010, which YAML takes for an octal, hexadecimal, binary or sexagesimal number"),
        ("a: 0x1F", "a is 0x1F"), ("a: 0b11", "a is 0b11"), ("a: 1:30", "a is 1:30"), ("a: 1:30.5", "unusual form"),
        ("a: yes", "a is yes, which YAML reads as true or false: write true or false, or put it in quotes"),
        ("a: [on]", "line 1: a.0 is on"), ("\nOff: 1", "line 2: the key is Off"),
        ("a:\nb: 1", "line 1: a has no value: write one, or null"),
        ("a: .inf", "a is .inf, which is not a finite number"), ("a: -.INF", "not a finite"), ("a: .nan", "not a finite"),
        ("a: 1.0e+400", r"a is 1.0e\+400, which is not a finite number"),
        ("a: !!int five", "a is five"), ("a: !!float five", "not a finite number"), ("a: !!bool five", "a is five"),
        ("a: !!python/name:os.system x", "the tag"), ("a: !x [1]", "the tag !x is not used here"), ("a: =", "the tag"),
        ("a: !!binary aGk=", "the tag !!binary"), ("a: !!set {b}", "the tag !!set"),
        (f"a: {'9' * 5000}", "a has 5,000 digits"), (f"a: 0x{'f' * 5000}", "a has 5,002 digits"),
        (f"a: {'x' * 5000}", "a has 5,000 characters, more than 4,000: shorten it"),
        (f"a: {'[' * 300}{']' * 300}", "more than 20 levels"), ("- " * 200 + "1", "more than 20 levels"),
        ("a: &x [*x]", "the aliases stand for more than"), ("a: &x {b: *x}", "the aliases stand for more than"),
        ("[a]: 1", "a key is a list or a mapping"), ("? {a: 1}\n: 2", "a key is a list or a mapping"),
        ("a: 1\n<<: {b: 2}", "line 2: << takes one mapping"), ("<<: [1]", "<< takes one mapping"),
        ("a:\t1", "line 1 is not YAML.*indent with spaces"), ("a:\n\tb: 1", "line 2 is not YAML.*indent with spaces"),
        ("a: 'b", "is not YAML"), ("a: b: c", "line 1 is not YAML"), ("a: *b", "undefined alias"),
        ("a: 1\n---\nb: 2", "is not YAML"), ("a: @b", "is not YAML"),
        ("a: 1\nb: \x00", r"line 2 is not YAML: it has the character U\+0000: remove it"),
        ('a: "\\UFFFFFFFF"', "too large"), (f"%YAML 9{'9' * 5000}.1\n---\na: 1", "too large"),
        ('a: "\\ud800"', "a has half a character"),
    ],
)  # fmt: skip
def test_what_is_not_read(text, sentence):
    with pytest.raises(ParamsError, match=f"^x.yaml.*{sentence}") as raised:
        yaml_file.parse(text, "x.yaml")
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1_000", 1000), ("a: +5", 5), ("a: 0", 0), ("a: 1.0e-5", 1e-5), ("a: .5", 0.5), ("a: ~", None), ("a: null", None),
        ("a: True", True), ("a: false", False), ("a: '010'", "010"), ("a: 'yes'", "yes"), ("a: 1e-5", "1e-5"),
        ("a: 2026-11-05", "2026-11-05"), ("a: 2026-13-45", "2026-13-45"), ("a: é", "é"), ("\ufeffa: 1", 1),
        ("b: &x {c: 1, d: 2}\na: {<<: *x, d: 3}", {"c": 1, "d": 3}),
    ],
)  # fmt: skip
def test_what_is_read(text, value):
    found = yaml_file.parse(text, "x.yaml")[0]["a"]
    assert found == value and type(found) is type(value)


def test_an_alias_bomb_ends_at_once():
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(ParamsError, match="the aliases stand for more than 20,000 values"):
        yaml_file.parse("\n".join(["a0: &a0 [1, 1]", *levels]), "x.yaml")


def test_a_mistake_names_file_line_key_and_value(tmp_path):
    path = tmp_path / "mini.yaml"
    path.write_text(re.sub(r"(?m)^  agents: 5", "  agents: 50", MINI), encoding="utf-8")
    line = 1 + next(n for n, text in enumerate(MINI.splitlines()) if text.startswith("  agents: 5"))
    with pytest.raises(ParamsError) as raised:
        params.load(path)
    assert str(raised.value) == f"{path}, line {line}: debate.agents must be less than or equal to 20, not 50"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_other_encodings(tmp_path, encoding):
    path = tmp_path / "mini.yaml"
    path.write_bytes(f"# é\n{MINI}".encode(encoding, errors="replace"))
    with pytest.raises(ParamsError, match=r"line 1: byte \d+ is not UTF-8: save the file as UTF-8"):
        params.load(path)


def test_large_files_and_byte_order_marks(tmp_path):
    path = tmp_path / "mini.yaml"
    path.write_text(MINI, encoding="utf-8-sig")
    assert params.load(path) == params.load(store.ROOT / "params" / "mini.yaml")
    path.write_bytes(b"#" * 300_000)
    with pytest.raises(ParamsError, match="more than 256,000 bytes"):
        params.load(path)


# A bounded fuzz test: whatever a file or a value becomes, the answer is params, or one sentence for each mistake.

VALUES = [
    None, True, 0, -1, 3.5, 1e300, -1e300, float("inf"), float("nan"), 2**32, 10**30, 10**5000, "", " ", "a", "../x",
    "x" * 300, "yes", "1e-5", "\x00", "\ud800", [], {}, [[]], ["a", "a"], {"a": 1}, {1: 2}, [None], b"x",
]  # fmt: skip
PIECES = ["010", "yes", "~", "[", "]", "{", "}", "'", '"', "&a", "*a", "!!int x", "!x", "|", "- ", "? ", ": ", "#", "\t",
          "<<: ", "\n", "\x00", "\ufeff", "\u2028", "é", "9" * 5000, "---\n", "%", "@", "`"]  # fmt: skip


def answer(check) -> None:
    """Call `check`, which may raise ParamsError with lines that are not empty and not too long."""
    try:
        check()
    except ParamsError as error:
        assert all(0 < len(line) < 2_500 for line in str(error).splitlines())


def places(value, above=()):
    """The keys and indices that lead to each value."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*above, key)
        yield from places(item, (*above, key))


@pytest.mark.parametrize("name", ["mini", "paper"])
def test_any_value_anywhere(name):
    text = (store.ROOT / "params" / f"{name}.yaml").read_text(encoding="utf-8")
    content, chance = yaml_file.parse(text, name)[0], random.Random(name)
    for place in places(content):
        for value in chance.sample(VALUES, 4):
            changed = _with(content, place, value)
            answer(lambda changed=changed: notebook.check_names(*params.check(changed, "x.yaml")))


def _with(content, place, value):
    """A copy of nested mappings and lists with another value at a place."""
    if not place:
        return value
    copy = content.copy()
    copy[place[0]] = _with(content[place[0]], place[1:], value)
    return copy


def test_any_text(tmp_path):
    chance = random.Random(0)
    lines = [line.split("#")[0].rstrip() for line in MINI.splitlines()]
    lines = [line for line in lines if line][:30]  # shorter, because PyYAML is slow
    for _ in range(60):
        changed = list(lines)
        for _ in range(chance.randint(1, 2)):
            row = chance.randrange(len(changed))
            column = chance.randint(0, len(changed[row]))
            changed[row] = changed[row][:column] + chance.choice(PIECES) + changed[row][column:]
        (tmp_path / "mini.yaml").write_text("\n".join(changed), encoding="utf-8")
        answer(lambda: params.load(tmp_path / "mini.yaml"))
