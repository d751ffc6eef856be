"""What the paper's introduction and appendix say of Tables 3 to 8, recomputed: see `audit`."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor
from typing import TYPE_CHECKING

from .audit import TEACHER, Line, half, verdict
from .audit_numbers import QUESTIONS, by_training_set, hundredths, repeated_rows, same_by_chance

if TYPE_CHECKING:
    from .audit import Tables


def parts(tables: Tables) -> list[Iterator[Line]]:
    """The statements of this file."""
    return [ablations(tables), repeated(tables), two_steps(tables), appendix(tables)]


def half_up(value: float, digits: int) -> float:
    """A mean of printed numbers, rounded half up; 1e-9 is for the binary form of numbers like 49.705."""
    return floor(value * 10**digits + 0.5 + 1e-9) / 10**digits


def ablations(tables: Tables) -> Iterator[Line]:
    """Statements of the introduction, B.2, C.1 and C.2 about Tables 4 and 5."""
    prm, ppo = tables["table04_prm_ablation"], tables["table05_ppo_vs_grpo"]
    average = prm[prm.train == "avg"].set_index(["test", "prm", "policy"]).value
    tests = list(dict.fromkeys(prm.test))
    by_prm = {(t, p): average[t, "8B", p] - average[t, "0.6B", p] for t in tests for p in ("0.6B", "8B")}
    by_policy = [average[t, p, "8B"] - average[t, p, "0.6B"] for t in tests for p in ("0.6B", "8B")]
    said = ", ".join(f"{test} policy {policy} {change:+.2f}" for (test, policy), change in by_prm.items())
    yield (
        "C.1",
        "a larger PRM yields gains, even for a small policy",
        "4",
        "average with PRM 8B - with PRM 0.6B > 0",
        said,
        verdict(sum(round(d, 2) > 0 for d in by_prm.values()), len(by_prm)),
        half(len(by_prm)),
    )
    base = tables["table09_13_baselines"].set_index(["student", "test"]).value
    growth = [base["qwen3-8b", t] - base["qwen3-0.6b", t] for t in tests for _ in ("0.6B", "8B")]
    by_gain = [change - of_base for change, of_base in zip(by_policy, growth, strict=True)]
    for what, changes in (("average accuracy", by_policy), ("average gain over the base", by_gain)):
        larger = sum(abs(a) > abs(b) for a, b in zip(by_prm.values(), changes, strict=True))
        yield (
            "1",
            "PRM capacity matters more than student model size",
            "4",
            f"{what}: |change from PRM 0.6B to 8B| > |change from policy 0.6B to 8B|",
            f"{larger} of {len(changes)}; PRM at most {max(map(abs, by_prm.values())):.2f} points, policy "
            f"{min(map(abs, changes)):.2f} to {max(map(abs, changes)):.2f}",
            verdict(larger, len(changes)),
            half(len(changes)),
        )
    for name, table, keys in (("4", prm, ["test", "prm", "policy"]), ("5", ppo, ["algorithm", "test"])):
        means = table[table.train != "avg"].groupby(keys).value.mean().map(lambda value: half_up(value, 2))
        same = means.eq(table[table.train == "avg"].set_index(keys).value)
        yield (
            f"Table {name}",
            "Avg",
            name,
            "mean of the four values, rounded half up",
            f"{same.sum()} of {len(same)}",
            verdict(same.sum(), len(same)),
            "",
        )
    wide = ppo.pivot(index=["test", "train"], columns="algorithm", values="value")
    single, whole = wide.drop(index="avg", level="train"), wide.xs("avg", level="train")
    up = int((single.ppo > single.grpo).sum())
    yield (
        "C.2",
        "PPO is marginally higher in most settings",
        "5",
        "PPO - GRPO > 0",
        f"{up} of {len(single)}",
        verdict(2 * up > len(single), 1),
        half(len(single)),
    )
    up = int((whole.grpo > whole.ppo).sum())
    said = ", ".join(f"{test} {row.grpo - row.ppo:+.2f}" for test, row in whole.iterrows())
    yield (
        "B.2",
        "GRPO achieves higher final accuracy",
        "5",
        "average of GRPO - of PPO > 0",
        said,
        verdict(up, len(whole)),
        half(len(whole)),
    )


def repeated(tables: Tables) -> Iterator[Line]:
    """Settings that two tables have: Tables 4 and 5 beside the PAD rows of Tables 9-13."""
    rows = by_training_set(tables)
    found, right, expected = [], 0, 0.0
    for size, number in (("0.6B", "13"), ("8B", "9")):
        for test, n in QUESTIONS.items():
            ours = rows.loc[test, f"Table 4, PRM {size}, LLM {size}"]
            theirs = rows.loc[test, f"Table {number}, PAD of {TEACHER}"]
            equal = int((hundredths(ours) == hundredths(theirs)).sum())
            found.append(f"{size}, {test}: {equal} of {len(ours)}")
            right, expected = right + equal, expected + len(ours) * same_by_chance(ours.mean(), n)
    yield (
        "3.3.3, C.1",
        "the PRM starts from the student: PAD has PRM and LLM of one size",
        "4, 9, 13",
        f"value with PRM and LLM of one size = value of PAD of {TEACHER} for that student",
        ", ".join(found),
        verdict(right, 16),
        f"{expected:.1f} of 16",
    )
    rows_of: dict[str, list[str]] = {"GRPO": [], "PPO": []}
    expected = 0.0
    for pair in repeated_rows(rows, least=len(rows.columns)).itertuples():
        for one, other in ((pair.row, pair.other), (pair.other, pair.row)):
            if one.startswith("Table 5, ") and ", PAD of" in other:
                rows_of[one.removeprefix("Table 5, ")].append(f"{other} ({pair.test})")
                expected += pair.expected
    said = "; ".join(f"{name} = {' and '.join(those)}" for name, those in rows_of.items() if those)
    grpo, ppo = map(bool, rows_of.values())
    yield (
        "3.3.3, C.2",
        "PAD is trained with GRPO",
        "5, 9-13",
        "a PAD row that is equal to a row of Table 5 is its GRPO row",
        said or "no row is equal",
        verdict(grpo + (not ppo), 2) if said else "no table",
        f"{expected:.4f} rows" if said else "",
    )


def two_steps(tables: Tables) -> Iterator[Line]:
    """Statements about Table 7."""
    two = tables["table07_two_step"].pivot(index=["method", "test"], columns="second_stage_data", values="value")
    up = two[["gsm8k", "math"]].gt(two["base"], axis=0)
    yield (
        "F.1",
        "stacking DA leads to consistent gains",
        "7",
        "value - that of the column Base > 0",
        f"{up.sum().sum()} of {up.size}",
        verdict(up.sum().sum(), up.size),
        half(up.size),
    )
    main = tables["table09_13_distillation"]
    main = main[(main.student == "qwen3-1.7b") & (main.teacher == TEACHER)]
    once = main[main.method == "da"].set_index(["test", "train"]).value
    pairs = [(row[data], once[test, data]) for (_, test), row in two.iterrows() for data in ("gsm8k", "math")]
    up = sum(a > b for a, b in pairs)
    yield (
        "1",
        "combination of approaches can achieve further improvement",
        "7, 12",
        "value - that of DA alone, same data > 0",
        f"{up} of {len(pairs)}, mean {sum(a - b for a, b in pairs) / len(pairs):+.2f} points",
        verdict(up, len(pairs)),
        half(len(pairs)),
    )
    by_cell = main.pivot(index=["method", "train"], columns="test", values="value")
    for method in ("rsft", "pad"):
        values = two["base"].loc[f"{method}+da"]
        match = list(by_cell.index[(by_cell == values).all(axis=1)])
        said = ", ".join(f"{name.upper()} on {train}" for name, train in match)
        right = any(name == method for name, _ in match)
        chance = float(len(by_cell))
        for test, n in QUESTIONS.items():
            chance *= same_by_chance(values[test], n)
        yield (
            "F.1",
            f"{method.upper()}+DA stacks DA on {method.upper()}",
            "7, 12",
            f"the column Base is {method.upper()} alone: both its values stand in Table 12 as {method.upper()}",
            f"{values['gsm8k']} and {values['medmcqa']} are {said or 'not in Table 12'}",
            verdict(right, 1),
            f"{chance:.3f} of {len(by_cell)}",
        )


def appendix(tables: Tables) -> Iterator[Line]:
    """Statements about Tables 3, 6 and 8."""
    statistics = tables["table03_dataset_statistics"]
    per_question = (statistics.trajectories / statistics.questions).groupby(statistics.dataset)
    differ = int((per_question.nunique() > 1).sum())
    yield (
        "A.3",
        "T counts correct trajectories",
        "3",
        "T / Q differs between the teachers, who are not right equally often",
        f"in {differ} of {len(per_question)} sets; T / Q is {per_question.min().min():.2f} to "
        f"{per_question.max().max():.2f} (five agents)",
        verdict(differ, len(per_question)),
        "",
    )
    hours = tables["table06_training_cost"].set_index("method").hours
    yield (
        "D.3",
        "PAD is PRM training and GRPO",
        "6",
        "hours of PRM + of GRPO = hours of PAD",
        f"{hours['prm']} + {hours['grpo']} = {hours['prm'] + hours['grpo']}, printed {hours['pad']}",
        verdict(hours["prm"] + hours["grpo"] == hours["pad"], 1),
        "",
    )
    sft = tables["table08_sft"]
    base = sft[sft.train == "base"].set_index(["student", "test"]).value
    sft = sft[sft.train != "base"]
    gain = sft.value - [base[key] for key in zip(sft.student, sft.test, strict=True)]
    best = gain[sft.test == "medmcqa"].groupby(sft.student).max()
    said = {"gemma-7b": 6.8, "qwen3-8b": 3.4}
    equal = [abs(best[student] - value) < 0.05 + 1e-9 for student, value in said.items()]
    yield (
        "G.1",
        "+6.8 for Gemma-7B, +3.4 for Qwen3-8B on MedMCQA",
        "8",
        "largest value - base on MedMCQA",
        ", ".join(f"{student} {best[student]:+.2f}" for student in said),
        verdict(sum(equal), len(equal)),
        "",
    )
    up = int((gain[sft.test == "gsm8k"] > 0).sum())
    of = int((sft.test == "gsm8k").sum())
    yield (
        "G.1",
        "GSM8K remains largely unimproved under SFT",
        "8",
        "value - base on GSM8K <= 0",
        f"{of - up} of {of}",
        verdict(2 * up < of, 1),
        half(of),
    )
    printed = tables["table09_13_baselines"].set_index(["student", "test"]).value
    same = int(printed.eq(base).sum())
    yield (
        "captions",
        "the original model scores ...",
        "8, 9-13",
        "base of Table 8 = score in the caption",
        f"{same} of {len(printed)}",
        verdict(same, len(printed)),
        "",
    )
