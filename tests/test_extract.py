"""Extraction: which traces of a debate are kept, with the counts of what was dropped, on logs made by hand."""

from functools import cache
from itertools import islice
from random import Random

import pandas as pd
import pytest
from tiny import but, graded

from agentark import params, store, tasks
from agentark.cells import Cell
from agentark.extract import diverse
from agentark.extract import traces as extraction
from agentark.tasks import mini_gsm

GSM = tasks.get("mini_gsm")
CELL = Cell(teacher="t", train="mini_gsm", protocol="debate")
MINI, _ = params.load(store.ROOT / "params" / "mini.yaml")


@cache
def problems_of(n: int) -> list[tasks.Problem]:
    return tasks.problems("mini_gsm", "train", n)


def text(problem: tasks.Problem, code: str) -> str:
    """The reply of an agent.

    R is right, R1, R2, … right in another structure, S right in other words, B right in a box alone, W wrong, N has no
    answer, T is cut off before its answer; any other reply is cut off with a "!" at the end of its code.
    """
    code = code.rstrip("!")
    if code == "W":
        return f"gets 1+{int(problem.answer)}={int(problem.answer) + 1}\nAnswer: {int(problem.answer) + 1}"
    if code == "B":
        return problem.solution.rsplit("\n", 1)[0] + f"\n\\boxed{{{problem.answer}}}"
    if code in "NT":
        return "no idea" if code == "N" else "gets"
    if code == "S":
        return problem.solution.replace("gets", "receives").replace("loses", "now has").replace("each", "that is")
    return "".join(f"each {n}*7={n * 7}\n" for n in range(1, int(code[1:] or 0) + 1)) + problem.solution


def log_of(*debates: list[str], aggregator: str = "W") -> pd.DataFrame:
    """A graded debate log: for each problem its rounds, as "R W R1" for the replies of agents 1, 2, 3."""
    rows = []
    for problem, rounds in zip(problems_of(len(debates)), debates):
        replies = [
            (number, agent, code)
            for number, codes in enumerate(rounds, 1)
            for agent, code in enumerate(codes.split(), 1)
        ]
        for number, agent, code in [*replies, (len(rounds) + 1, 0, aggregator)]:
            reply = text(problem, code)
            rows.append(
                {
                    "problem": problem.id,
                    "round": number,
                    "agent": agent,
                    "text": reply,
                    "finish": "length" if code == "T" or code.endswith("!") else "stop",
                    "tokens_in": 9,
                    "tokens_cached": 0,
                    "tokens_out": len(reply.split()),
                    "gold": problem.answer,
                    "template": problem.template,
                    "held_out": problem.held_out,
                }
            )
    return graded(pd.DataFrame(rows))


@pytest.fixture
def extract(tmp_path):
    """Extraction of a hand-made log into a file of its own."""

    def run(
        log: pd.DataFrame, seed: int = 0, log_id: str = "log", name: str = "", **changes
    ) -> tuple[pd.DataFrame, dict]:
        path = tmp_path / f"{name or len(list(tmp_path.iterdir()))}.parquet"
        config = MINI.model_copy(update={"extract": but(MINI.extract, **changes)})
        return extraction.run(path, log, log_id, CELL.but(seed=seed), config)

    return run


def debate(traces: pd.DataFrame) -> pd.DataFrame:
    return traces[traces.source == "debate"]


def reloaded(log: pd.DataFrame, tmp_path) -> pd.DataFrame:
    log.to_parquet(tmp_path / "log.pq")
    return pd.read_parquet(tmp_path / "log.pq")


# Kinds


def test_kinds():
    # agent   1  2  3 4 5 6
    log = log_of(["R W R W N R", "R R W W R W", "R R R R R W"])
    final = extraction.final_traces(log.sample(frac=1, random_state=3)).sort_values("agent")
    assert list(final.agent) == [1, 2, 3, 4, 5, 6] and set(final["round"]) == {3}
    assert list(final.kind) == ["direct", "corrective", "corrective", "corrective", "corrective", "wrong"]


def test_debates_that_end_early_and_the_aggregator():
    log = log_of(["R R"], ["W R", "R R"], aggregator="R")
    assert list(extraction.final_traces(log)["round"]) == [1, 1, 2, 2]
    both = extraction.final_traces(log, aggregator=True)
    assert list(both[both.agent == 0].kind) == ["direct", "direct"] and len(both) == 6


@pytest.mark.parametrize("from_file", [False, True])
def test_reasons(extract, tmp_path, from_file):
    log = log_of(["R W N T"])
    traces, counts = extract(reloaded(log, tmp_path) if from_file else log)
    assert list(debate(traces).reason) == ["", "wrong answer", "no answer found", "truncated"]
    assert [counts[f"final traces dropped: {reason}"] for reason in debate(traces).reason[1:]] == [1, 1, 1]


def test_traces_that_were_cut_off_never_teach(extract):
    """Not even one whose answer is right: students would learn to break off."""
    traces, counts = extract(log_of(["R! R R1 W!"], ["W R! T N", "R! R! R R1!"], ["R R1 W W"]))
    cut = traces[traces.finish == "length"]
    assert set(cut.reason) == {"truncated"} and not cut.rsft.any() and (cut.diversity_rank == -1).all()
    assert list(debate(cut).correct) == [True, False, True, True, True]
    assert counts["final traces dropped: truncated"] == 5 and counts["final traces dropped: wrong answer"] == 2
    assert counts["of these truncated with the right answer"] == 4 and counts["correct final traces (T)"] == 2 + 1 + 2
    assert counts["problems with one correct trace (no DA)"] == 1 and counts["DA problems"] == 2
    assert counts["round-1 traces truncated"] == 4 and counts["correct round-1 traces"] == 4


# What is chosen


@pytest.mark.parametrize("seed", range(5))
def test_corrective_first_for_rsft(extract, seed):
    traces, counts = extract(log_of(["R R1 W R2", "R R1 R3 R2"], ["W R", "W R"], ["R R1", "R R1"]), seed)
    chosen = debate(traces)[debate(traces).rsft]
    assert list(chosen.kind) == ["corrective", "direct", "direct"] and list(chosen.agent)[:2] == [3, 2]
    assert counts["R-SFT traces"] == 3 and counts["of these corrective, chosen first"] == 1
    first = debate(traces)[debate(traces).diversity_rank == 0]
    assert "corrective" in set(first.kind) and first.agent.iloc[0] == 3


def test_the_seed_decides_among_equals(extract):
    log = log_of(*[["R R1 R2 R3"]] * 6)
    picks = {tuple(t[t.rsft & (t.source == "debate")].agent) for t, _ in (extract(log, seed) for seed in range(4))}
    assert len(picks) > 1
    pd.testing.assert_frame_equal(extract(log, 2)[0], extract(log, 2)[0])


def test_rsft_of_all_traces(extract):
    traces, counts = extract(log_of(["R R1 W"], ["W W R"]), rsft_traces="all")
    assert (debate(traces).rsft == debate(traces).correct).all()
    assert counts["R-SFT traces"] == counts["correct final traces (T)"] == 3


@pytest.mark.parametrize("most", [1, 2, 3])
def test_da_needs_two_correct_and_takes_different_ones(extract, most):
    traces, counts = extract(
        log_of(["R W W W W"], ["R S R S W"], ["R S R1 R R1"], ["R R1 R2 R3 R4"], ["W W W W W"]), max_traces=most
    )
    final = debate(traces)
    da = final[final.diversity_rank >= 0]
    problems = [p.id for p in problems_of(5)]
    assert da.correct.all()
    sizes = da.groupby("problem").size().reindex(problems, fill_value=0)
    assert sizes.tolist() == [0, 1, min(2, most), min(3, most), 0]
    for _, group in da.groupby("problem"):
        assert sorted(group.diversity_rank) == list(range(len(group)))
        assert len({diverse.signature(trace) for trace in group.text}) == len(group)
    assert counts["DA traces"] == len(da) and counts["DA problems"] == 3
    assert counts["problems with one correct trace (no DA)"] == 1 and counts["problems without a correct trace"] == 1
    alone = traces[(traces.source == "single") & (traces.diversity_rank >= 0)]  # the same traces: they do not debate
    assert alone.groupby("problem").size().reindex(problems, fill_value=0).tolist() == sizes.tolist()


def test_choose_goes_for_the_farthest():
    near, far = "a 1+1=2\nb 2+1=3\nc 3+1=4", "a 9*9=81\nb 8*8=64\nc 7*7=49"
    one_off = "a 1+1=2\nb 2+1=3\nc 3+2=5"
    for seed in range(5):
        assert diverse.choose([near, one_off, far], [True, False, False], 2, Random(seed)) == [0, 2]
        assert diverse.choose([near, one_off, far], [True, False, False], 3, Random(seed)) == [0, 2, 1]
        assert diverse.choose([near, near, near], [False, True, False], 3, Random(seed)) == [1]
        assert diverse.choose([near], [False], 3, Random(seed)) == [0]


def test_counts_add_up(extract):
    _, counts = extract(log_of(["R W N T R1", "R R N W R1"], ["R R R R R"], ["W W T N W", "W N T W W", "T T T W N"]))
    dropped = sum(n for what, n in counts.items() if what.startswith("final traces dropped"))
    assert counts["problems (Q)"] == 3 and counts["completions in the log"] == 10 + 5 + 15 + 3
    assert counts["final traces"] == 15 == counts["correct final traces (T)"] + dropped
    assert counts["correct final traces (T)"] == 8 and counts["of these corrective"] == 1
    assert counts["completions truncated"] == 6 and counts["completions without an answer"] == 11
    assert counts["problems without a correct trace"] == 1
    assert counts["T of the paper's Table 3 (agents + 1 a problem, unfiltered)"] == 3 * 6


# The control


def test_rsft_single_is_as_many_from_round_1(extract):
    log = log_of(["R R1 R2", "W R R"], ["R W R", "R R R"], ["W W W", "R R R"], ["W W W", "R W R"])
    traces, counts = extract(log)
    single = traces[(traces.source == "single") & traces.rsft]
    # 4 problems, but only 2 had a correct round 1
    assert counts["R-SFT traces"] == 4 == len(single) == counts["rsft_single traces"]
    assert single.correct.all() and set(single["round"]) == {1} and single.problem.nunique() == 2
    assert counts["rsft_single traces beyond a problem's first"] == 2 and counts["correct round-1 traces"] == 5
    assert not single.duplicated(["problem", "agent"]).any()


@pytest.mark.parametrize("seed", range(4))
def test_rsft_single_spreads_before_it_takes_a_second(extract, seed):
    log = log_of(["R R1 R2 R3", "W W W W"], ["R R1 R2 R3", "R R R R"], ["R W W W", "R R R R"], ["W W W R", "R R R R"])
    traces, counts = extract(log, seed)
    single = traces[(traces.source == "single") & traces.rsft]
    assert counts["R-SFT traces"] == 3 == len(single) == single.problem.nunique()
    traces, _ = extract(log, seed, rsft_traces="all")  # 12 final ones, but only 10 in round 1
    single = traces[(traces.source == "single") & traces.rsft]
    assert len(single) == 10 and single.problem.nunique() == 4


@pytest.mark.parametrize("seed", range(4))
def test_da_single_is_as_many_from_round_1(extract, seed):
    debates = ["R R1 R2 W", "R R1 R2 W"], ["R W W W", "R R1 W W"], ["R R1 R R2!", "W W W R"], ["W W W W", "R R1 W W"]
    traces, counts = extract(log_of(*debates), seed)
    problems = [p.id for p in problems_of(4)]
    sizes = {}
    for source in ("debate", "single"):
        chosen = traces[(traces.source == source) & (traces.diversity_rank >= 0)]
        assert (chosen.reason == "").all()
        for _, group in chosen.groupby("problem"):
            assert sorted(group.diversity_rank) == list(range(len(group)))
            assert len({diverse.signature(trace) for trace in group.text}) == len(group)
        sizes[source] = chosen.groupby("problem").size().reindex(problems, fill_value=0).tolist()
    # the second and the fourth problem have too few: the third, which has none for DA, makes up for them
    assert sizes == {"debate": [3, 2, 0, 2], "single": [3, 1, 2, 0]}
    assert set(traces[(traces.source == "single") & (traces.diversity_rank >= 0)]["round"]) == {1}
    assert counts["da_single traces"] == 6 and counts["DA traces"] == 7  # there is no seventh that is another one
    assert counts["da_single traces beyond DA's of the problem"] == 2


def test_da_single_has_no_more_of_a_problem_than_da_may_have(extract):
    """Also where it makes up for another problem."""
    traces, counts = extract(log_of(["R R1 R2 R3"], ["W W W W", "R R1 R2 R3"]), max_traces=2)
    alone = traces[(traces.source == "single") & (traces.diversity_rank >= 0)]
    assert counts["DA traces"] == 4 and list(alone.problem) == [problems_of(1)[0].id] * 2


@pytest.mark.parametrize("seed_matters", ["rsft_single", "da_single"])
def test_the_controls_are_drawn_by_seed(extract, seed_matters):
    """As many as a debate has, of many: which ones depends on the seed alone."""
    rounds = ["R R1 R2", "R W W"] if seed_matters == "rsft_single" else ["R R1 R2", "R R1 W"]
    mark = (lambda t: t.rsft) if seed_matters == "rsft_single" else (lambda t: t.diversity_rank >= 0)
    drawn = []
    for seed in (0, 0, *range(1, 9)):
        traces, _ = extract(log_of(*[rounds] * 4), seed)
        drawn.append(frozenset(traces.index[(traces.source == "single") & mark(traces)]))
    assert drawn[0] == drawn[1] and len(set(drawn)) > 1


def test_each_judge_has_an_engine_of_its_own(tmp_path, monkeypatch):
    own, asked = params.Engine(name="transformers", batch=7, dtype="float32", share_prefix=True), []

    def record(*args, engine, **_):
        asked.append(engine)
        raise KeyboardInterrupt

    monkeypatch.setattr(extraction.llm_verify, "run", record)
    monkeypatch.setattr(extraction.llm_diverse, "run", record)
    judge = params.LanguageModel(model="zoo/qwen3-0.6b", constrained=True, temperature=0.0, max_new_tokens=4, chunk=2)
    for engine in (own, None):
        for name in ("verifier", "diversity"):
            sections = {"judges": but(MINI.judges, **{name: but(judge, engine=engine)})}
            if name == "diversity":
                sections["extract"] = but(MINI.extract, diversity="judge")
            with pytest.raises(KeyboardInterrupt):
                config = MINI.model_copy(update=sections)
                extraction.run(tmp_path / "t.parquet", log_of(["R R1"]), "x", CELL, config)
    assert asked == [own, own, MINI.engine, MINI.engine]


# The stitched form


def test_stitched_holds_attempt_critique_and_repair(extract):
    log = log_of(["W R1 W", "W R2 R", "R R3 R"])
    traces, _ = extract(log, corrective_form="stitched")
    problem, final = problems_of(1)[0], debate(traces).set_index("agent")
    assert final.text[2] == text(problem, "R3") and final.kind[2] == "direct"
    # Agent 1 was wrong twice: the trace has the last wrong attempt, and the peer that was right in that round.
    for agent, peer in ((1, "R2"), (3, "R1")):
        trace = final.text[agent]
        assert final.kind[agent] == "corrective"
        assert trace.index(text(problem, "W")) < trace.index(text(problem, peer)) < trace.rindex(text(problem, "R"))
        assert GSM.verify(trace, problem)[1:] == (True, True) and trace.endswith(problem.solution)
    assert (traces[traces.source == "single"].text == log[(log["round"] == 1) & (log.agent > 0)].text.to_numpy()).all()


def test_stitched_without_a_right_peer(extract):
    traces, _ = extract(log_of(["W W", "R W"]), corrective_form="stitched")
    trace, [problem] = debate(traces).set_index("agent").text[1], problems_of(1)
    assert text(problem, "W") in trace and "peer" not in trace and GSM.verify(trace, problem)[1]


def test_stitched_passes_over_what_was_cut_off(extract):
    traces, _ = extract(log_of(["W! W R! R2", "R R1 R W"]), corrective_form="stitched")
    final, [problem] = debate(traces).set_index("agent"), problems_of(1)
    assert final.text[1] == problem.solution and final.kind[1] == "corrective"  # its only attempt breaks off
    assert text(problem, "W") in final.text[2] and text(problem, "R2") in final.text[2]


def test_stitched_is_still_right_if_the_repair_has_no_answer_line(extract):
    traces, _ = extract(log_of(["W W", "B W"]), corrective_form="stitched")
    repaired = debate(traces).set_index("agent").loc[1]
    assert repaired.correct and GSM.verify(repaired.text, problems_of(1)[0])[2], (
        "the wrong attempt's answer line is now the text's answer"
    )


# Edges


@pytest.mark.parametrize("form", ["final", "stitched"])
@pytest.mark.parametrize("log", [["W W N"], ["N T W", "W W W"]])
def test_nothing_correct(extract, log, form):
    traces, counts = extract(log_of(log, log), corrective_form=form)
    assert not traces.rsft.any() and (traces.diversity_rank == -1).all() and not traces.correct.any()
    none = ("correct final traces (T)", "R-SFT traces", "DA traces", "rsft_single traces")
    assert {counts[name] for name in none} == {0} == {counts["rsft_single traces beyond a problem's first"]}
    assert counts["problems without a correct trace"] == 2


def test_right_in_round_1_alone(extract):
    _, counts = extract(log_of(["R R", "W W"]))
    assert counts["R-SFT traces"] == counts["rsft_single traces"] == 0 and counts["correct round-1 traces"] == 2


def test_aggregators_trace_on_demand(extract):
    log = log_of(["W R"], ["W W"], aggregator="R1")
    traces, counts = extract(log)
    assert 0 not in set(traces.agent) and counts["final traces"] == 4
    traces, counts = extract(log, aggregator_traces=True)
    assert counts["final traces"] == 6 and counts["R-SFT traces"] == 2
    assert set(traces[traces.source == "single"].agent) == {1, 2}


# A second run


def test_a_second_run_reads_the_files(extract, monkeypatch, capsys):
    log = log_of(["R W N", "R R N"], ["W W R1"])
    traces, counts = extract(log, name="x")
    monkeypatch.setattr(extraction, "final_traces", lambda *_: pytest.fail("recomputed"))
    again, counted = extract(log, name="x")
    pd.testing.assert_frame_equal(traces, again)
    assert counts == counted and capsys.readouterr().err == ""
    assert list(traces.columns) == [*extraction.COLUMNS, "teacher", "task", "split", "protocol", "seed"]
    assert extraction.COLUMNS == [
        "problem",
        "source",
        "agent",
        "round",
        "text",
        "answer",
        "correct",
        "kind",
        "rsft",
        "diversity_rank",
        "reason",
        "finish",
        "tokens_out",
        "gold",
        "template",
    ]


@pytest.mark.parametrize("change", [{"max_traces": 1}, {"seed": 1}, {"log_id": "another"}])
def test_a_run_with_other_parameters_recomputes(extract, capsys, change):
    log = log_of(["R R1 R2"])
    traces, _ = extract(log, name="x")
    _, counts = extract(log, name="x", **change)
    assert "made from other parameters" in capsys.readouterr().err
    if "max_traces" in change:
        assert counts["DA traces"] == 1 and (debate(traces).diversity_rank >= 0).sum() == 3


def test_lost_counts_are_recomputed(extract, tmp_path):
    log = log_of(["R R1 W"])
    _, counts = extract(log, name="x")
    (tmp_path / "x_counts.csv").unlink()
    assert extract(log, name="x")[1] == counts


@pytest.mark.parametrize("kill_at", [1, 2, 3, 4])  # before the file or the manifest of the counts, or of the traces
def test_traces_and_counts_are_always_of_the_same_parameters(extract, monkeypatch, kill_at):
    """A run is killed between two files; then the earlier parameters come back, whose traces may still be there."""
    log = log_of(["R R1 R2"])
    _, counts = extract(log, name="x")
    written = []

    def killed(write):
        def run(*args, **more):
            written.append(write)
            if len(written) == kill_at:
                raise KeyboardInterrupt
            return write(*args, **more)

        return run

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(store.tables, "write_table", killed(store.tables.write_table))
        patch.setattr(store.tables, "write_manifest", killed(store.tables.write_manifest))
        extract(log, name="x", max_traces=1)
    traces, again = extract(log, name="x")
    assert again == counts and again["DA traces"] == 3 == (debate(traces).diversity_rank >= 0).sum()


# How different two traces are


def test_signature():
    assert diverse.signature("gets 3+4=7\n\nloses 7 - 2 = 5\nAnswer: 5") == (("+", "3", "4", "7"), ("-", "7", "2", "5"))
    assert diverse.signature("a 4+3=7") == diverse.signature("b: 3 + 4 = 7!")
    assert diverse.signature("4*3=12") == diverse.signature("3*4=12")
    assert diverse.signature("7-4=3") != diverse.signature("4-7=3")
    assert diverse.signature("8/2=4") != diverse.signature("2/8=4")
    assert diverse.signature("3×4=12, 12÷2=6") == diverse.signature("3*4=12\n12/2=6")  # a sign is wording, too
    assert diverse.signature("tumexin treats grisis.\nFinal answer: B") == (("tumexin", "treats", "grisis"),)
    assert diverse.signature("") == diverse.signature("Answer: 3\n \n") == ()


def test_distance_by_hand():
    a, b = diverse.signature("1+1=2\n2+3=5\n5*2=10"), diverse.signature("2+3=5\n5*2=10\n10-1=9\n9-9=0")
    assert diverse.distance(a, b) == diverse.distance(b, a) == 2 / 4  # two of b's four steps are not in a
    assert diverse.distance(a, a) == diverse.distance((), ()) == 0
    assert diverse.distance(a, ()) == diverse.distance((), b) == 1


def test_the_order_of_the_steps_is_no_structure():
    trace, other = "a gets 1+1=2\nb is small\nc 2*2=4\nAnswer: 4", "c 2*2=4\nb is small\nb: 1+1=2\nAnswer: 4"
    assert diverse.signature(trace) == diverse.signature(other)
    assert diverse.distance(diverse.signature(trace), diverse.signature(other)) == 0
    assert diverse.choose([trace, other], [False, False], 2, Random(0)) in ([0], [1])
    once, twice = diverse.signature("1+1=2"), diverse.signature("1+1=2\n1+1=2")
    assert once != twice and diverse.distance(once, twice) == 1 / 2  # a step that is repeated counts twice


def test_distance_of_real_solutions():
    rng = Random(5)
    signatures = [
        diverse.signature(mini_gsm.solve(story, rng)) for story, _, _ in islice(mini_gsm.stream("train", rng), 12)
    ]
    for a in signatures:
        for b in signatures:
            assert 0 <= diverse.distance(a, b) == diverse.distance(b, a) <= 1
            assert (diverse.distance(a, b) == 0) == (a == b)
            longer = max(len(a), len(b))
            for c in signatures[:6]:  # the triangle holds for the unscaled distance
                assert (
                    diverse.distance(a, b) * longer
                    <= diverse.distance(a, c) * max(len(a), len(c))
                    + diverse.distance(c, b) * max(len(c), len(b))
                    + 1e-9
                )


def test_the_line_to_the_peers_is_not_part_of_a_trace(extract):
    """A reply opens with a line that addresses its peers; a student has none."""
    log = log_of(["R W R1", "R R R1"])
    lines = ["Check: agent 2 is wrong: gets 1+1=3\n" * (number > 1) for number in log["round"]]
    with_line = log.assign(text=[line + reply for line, reply in zip(lines, log.text)])
    for form in ("final", "stitched"):
        plain, stripped = (extract(each, corrective_form=form)[0].text for each in (log, with_line))
        assert list(plain) == list(stripped) and not stripped.str.contains("Check:").any()


class Choosing:
    """A verifier and a judge: it calls every answer correct, and takes the first of the traces that it may choose."""

    name = "choosing"

    def generate(self, chats, sampling, seed):
        from agentark.engines import Completion

        return [Completion(sampling.choices[0] if sampling.choices else "", (1,), "stop", 1, 0, 1) for _ in chats]


JUDGE = params.LanguageModel(model="zoo/qwen3-0.6b", constrained=True, temperature=0.0, max_new_tokens=8, chunk=2)


def test_a_language_model_verifies_and_chooses(tmp_path, monkeypatch):
    from agentark import engines

    monkeypatch.setattr(engines, "make", lambda model, config: Choosing())
    problems = problems_of(2)
    rows = [
        {
            "problem": p.id,
            "round": 1,
            "agent": agent,
            "text": f"{agent}+{agent}={2 * agent}\nAnswer: {agent}",
            "finish": "stop",
            "tokens_out": 3,
            "gold": p.answer,
            "template": "",
        }
        for p in problems
        for agent in (1, 2)
    ]
    log = graded(pd.DataFrame(rows))
    judges = params.Judges(verifier=JUDGE, diversity=JUDGE, distiller=None, quality=None)
    config = MINI.model_copy(update={"extract": but(MINI.extract, diversity="judge"), "judges": judges})
    traces, counts = extraction.run(tmp_path / "t.parquet", log, "x", CELL, config)
    assert not log.correct.any() and traces[traces.source == "debate"].correct.all()  # the verifier decides
    assert sorted(debate(traces)[debate(traces).diversity_rank >= 0].groupby("problem").size()) == [2, 2]
    assert counts["LLM verifier, traces: correct"] == 4 and counts["LLM diversity judge, kept"] == 4
    overlapping = {problems[0].id: "shares 8 words"}
    traces, counts = extraction.run(tmp_path / "u.parquet", log, "x", CELL, config, overlapping)
    assert set(traces.problem) == {problems[1].id} and counts["LLM diversity judge, kept"] == 2


def test_overlapping_problems_are_left_out_and_counted(tmp_path):
    problems, log = problems_of(2), log_of(["R"], ["R"])
    config = MINI.model_copy(update={"extract": but(MINI.extract, decontaminate_words=8)})
    overlapping = {problems[0].id: "shares 8 words"}
    traces, counts = extraction.run(tmp_path / "t.parquet", log, "x", CELL, config, overlapping)
    assert set(traces.problem) == {problems[1].id} and counts["problems left out: overlap with a test set"] == 1
    with pytest.raises(ValueError, match="nothing is left"):
        extraction.run(tmp_path / "u.parquet", log, "x", CELL, config, {p.id: "x" for p in problems})
