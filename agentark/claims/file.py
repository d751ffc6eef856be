"""Reading `params/claims.yaml`: the claims, checked by themselves and against the studies that shall test them."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from agentark import params, store
from agentark.params import ParamsError, Section, unknown, yaml_file
from agentark.params.messages import located, shown

PATH = store.ROOT / "params" / "claims.yaml"
PRIMARY = 10  # the most comparisons that Holm's correction may have without costing too much power
UNTRAINED = ("base", "base_majority", "teacher_single", "teacher_majority", "teacher_debate")  # every study has them
KEYS = ("cells", "claims", "changes")
Text = Annotated[str, Field(min_length=1, pattern=r"\S")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


class Place(Section):
    """Where two methods are compared: a cell of a study without its method and seed."""

    teacher: Text
    student: Text
    train: Text
    test: Text
    protocol: Text = "debate"


class Comparison(Section):
    """One comparison: the score of `method` minus that of `against`, on the same problems of each of `cells`.

    minus: cells whose difference is subtracted.  axes, against_axes: the values of the study's axes for each side.
    over: the mean over the cells, or "every": the claim has to hold in each of them.  smallest: the smallest effect of
    interest, in the unit of the measure (points for shares), and `because`, its reason.  controls: methods that the
    study needs, so that the result can be read.  seeds: the least number of training seeds.  study: the name of its
    params file; waits_for: what has to exist first.
    """

    id: Name
    primary: bool = False
    study: Text | None
    waits_for: Text | None = None
    cells: Annotated[list[str], Field(min_length=1)]
    minus: list[str] = Field(default_factory=list)
    method: Text
    against: Text
    axes: dict[str, Any] = Field(default_factory=dict)
    against_axes: dict[str, Any] = Field(default_factory=dict)
    measure: Text = "accuracy"
    direction: Literal["higher", "lower", "equal", "not higher"]
    over: Literal["mean", "every"] = "mean"
    smallest: Annotated[float, Field(gt=0)]
    because: Text
    controls: list[str] = Field(default_factory=list)
    seeds: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _can_be_tested(self):
        if self.study is None and self.waits_for is None:
            raise ValueError("no study tests it: name one, or say in waits_for what has to exist first")
        if self.primary and self.direction in ("equal", "not higher"):
            shown = f"{self.direction!r} is shown by an interval, which Holm's correction does not correct"
            raise ValueError(f"it is primary, but {shown}: make it exploratory")
        if self.over == "every" and self.minus:
            raise ValueError("over: every tests each cell by itself, with nothing to subtract: remove minus")
        if (self.method, self.axes) == (self.against, self.against_axes):
            raise ValueError(f"{self.method} is compared with itself: change against, or against_axes")
        return self


class Claim(Section):
    """A finding of the paper in its own words (`quote`), where it stands, and the comparisons that test it."""

    id: Name
    finding: Text
    quote: Text
    section: Text
    comparisons: Annotated[list[Comparison], Field(min_length=1)]


class Change(Section):
    """A change of a comparison after the first commit of the file."""

    date: Annotated[datetime.date, Field(strict=False)]  # a text in the file, as YAML's own dates may raise anything
    comparison: Text
    what: Text
    why: Text


class Claims(Section):
    """The whole file."""

    cells: dict[str, Place]
    claims: list[Claim]
    changes: list[Change]

    def comparisons(self) -> Iterator[tuple[Claim, Comparison]]:
        """Every comparison with its claim, in the file's order."""
        return ((claim, comparison) for claim in self.claims for comparison in claim.comparisons)


def read(path: Path = PATH) -> Claims:
    """Read and check the claims.  Raises ParamsError with one sentence for each mistake in the file."""
    if not path.exists():
        raise ParamsError(f"there are no claims, {path} is missing: state them before the results")
    content, lines = yaml_file.read(path)
    if not isinstance(content, dict) or set(content) != set(KEYS):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ParamsError(f"{path}: must have the keys {', '.join(KEYS)} and no others, not {found}")
    mistakes: list[str] = []
    places, listed, changed = content["cells"] or {}, content["claims"] or [], content["changes"] or []
    for key, value, kind in (("cells", places, dict), ("claims", listed, list), ("changes", changed, list)):
        if not isinstance(value, kind):
            word = "mapping" if kind is dict else "list"
            raise ParamsError(f"{path}, line {lines[(key,)]}: {key} must be a {word}, not {shown(value)!r}")
    cells = {str(name): _section(Place, cell, f"cell {name}", mistakes) for name, cell in places.items()}
    claims = [_claim(claim, number, mistakes) for number, claim in enumerate(listed, 1)]
    changes = [_section(Change, change, f"change {number}", mistakes) for number, change in enumerate(changed, 1)]
    if not mistakes:
        found_claims = Claims(cells=cells, claims=claims, changes=changes)
        mistakes = list(_mistakes(found_claims))
    if mistakes:
        raise ParamsError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    return found_claims


def _section(kind: type[Section], values: Any, where: str, mistakes: list[str]) -> Any:
    """A section, or None with its mistakes added to `mistakes`."""
    if not isinstance(values, dict):
        mistakes.append(
            f"{where}: must be a mapping with the keys {', '.join(kind.model_fields)}, not {shown(values)!r}"
        )
        return None
    for key in values:
        if key not in kind.model_fields:
            mistakes.append(f"{where}: {unknown(key, kind.model_fields)}")
    try:
        return kind.model_validate({key: value for key, value in values.items() if key in kind.model_fields})
    except ValidationError as error:
        mistakes += [f"{where}: {sentence}" for _, sentence in located(error, kind)]
        return None


def _claim(values: Any, number: int, mistakes: list[str]) -> Any:
    """A claim; its comparisons are checked one by one, so that a sentence names the comparison."""
    where = f"claim {values.get('id', number) if isinstance(values, dict) else number}"
    given = values.get("comparisons") if isinstance(values, dict) else None
    if not isinstance(given, list):
        return _section(Claim, values, where, mistakes)
    names = [c.get("id", n) if isinstance(c, dict) else n for n, c in enumerate(given, 1)]
    checked = [_section(Comparison, c, f"{where}, comparison {n}", mistakes) for n, c in zip(names, given)]
    if any(comparison is None for comparison in checked):
        return None
    return _section(Claim, {**values, "comparisons": checked}, where, mistakes)


def _mistakes(claims: Claims) -> Iterator[str]:
    """What is wrong with sections that are valid one by one."""
    ids = [comparison.id for _, comparison in claims.comparisons()]
    for name, count in Counter([*ids, *(f"claim {claim.id}" for claim in claims.claims)]).items():
        if count > 1:
            yield f"the id {name} occurs {count} times: rename all but one"
    for claim, comparison in claims.comparisons():
        for cell in (*comparison.cells, *comparison.minus):
            if cell not in claims.cells:
                yield f"claim {claim.id}, comparison {comparison.id}: {unknown(cell, claims.cells, 'cell')}"
    for change in claims.changes:
        if change.comparison not in ids:
            yield f"changes: {unknown(change.comparison, ids, 'comparison')}"
    primary = [comparison.id for _, comparison in claims.comparisons() if comparison.primary]
    if len(primary) > PRIMARY:
        yield (f"{len(primary)} comparisons are primary ({', '.join(primary)}): at most {PRIMARY} may be, make the "
               "others exploratory")  # fmt: skip


def unmade(claims: Claims, folder: Path = PATH.parent) -> list[str]:
    """What the claims name and their studies do not make: one sentence each.

    A study whose params file does not exist yet is passed over where the comparison says what it waits for.
    """
    found = []
    for claim, comparison in claims.comparisons():
        where = f"claim {claim.id}, comparison {comparison.id}"
        path = folder / f"{comparison.study}.yaml"
        if comparison.study is None:
            continue
        if path.exists():
            found += [f"{where}: {what}" for what in _not_made(claims, comparison, params.load(path)[0])]
        elif comparison.waits_for is None:
            found.append(f"{where}: there is no {path}: make that study, or say in waits_for what has to exist first")
    return found


def refuse(config: params.Params, path: Path = PATH) -> None:
    """Raise ParamsError if a claim names a cell of this study that the study does not make; before the study runs."""
    if not path.exists():
        return
    claims = read(path)
    mistakes = [
        f"{path}: claim {claim.id}, comparison {comparison.id}: {what}"
        for claim, comparison in claims.comparisons()
        if comparison.study == config.study.name
        for what in _not_made(claims, comparison, config)
    ]
    if mistakes:
        raise ParamsError("\n".join(mistakes))


def _not_made(claims: Claims, comparison: Comparison, config: params.Params) -> Iterator[str]:
    """What of a comparison a study does not make, each with what to do."""
    study = config.study
    advice = f"add it to the study, or change the claim and say so under changes (study {study.name})"
    made = {"teacher": study.teachers, "student": study.students, "train": study.train_tasks}
    made |= {"test": study.test_tasks, "protocol": study.protocols}
    wanted = [
        (f"{coordinate} {getattr(claims.cells[name], coordinate)}", getattr(claims.cells[name], coordinate), values)
        for name in (*comparison.cells, *comparison.minus)
        for coordinate, values in made.items()
    ]
    methods = [*study.methods, *UNTRAINED]
    wanted += [(f"method {m}", m, methods) for m in (comparison.method, comparison.against)]
    wanted += [(f"control {m}", m, methods) for m in comparison.controls]
    for method, axes in ((comparison.method, comparison.axes), (comparison.against, comparison.against_axes)):
        varied = study.axes if method in UNTRAINED else study.axes | study.taught
        wanted += [(f"{path} = {value!r}", value, varied.get(path, [])) for path, value in axes.items()]
    for what in dict.fromkeys(name for name, value, values in wanted if value not in values):
        yield f"the study does not make the {what}: {advice}"
    if len(study.seeds) < comparison.seeds:
        yield f"the study has {len(study.seeds)} training seeds, the claim needs {comparison.seeds}: {advice}"
