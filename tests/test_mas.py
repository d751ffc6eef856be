"""Debates by scripted agents, followed row by row; and runs that are cut off anywhere end with the same rows."""

import json
import multiprocessing
import re
import time
from dataclasses import replace
from itertools import pairwise

import pandas as pd
import pytest
import tiny
from tiny import DEBATE, ENGINE, Scripted, but, marks

from agentark import engines, store, tasks
from agentark.cells import Cell
from agentark.mas import checks, generation, votes
from agentark.mas.protocols import self_consistency

CELL = Cell(teacher="some/teacher", train="mini_med", protocol="debate", seed=3)
COLUMNS = {
    "problem",
    "round",
    "agent",
    "text",
    "answer",
    "strict",
    "finish",
    "tokens_in",
    "tokens_cached",
    "tokens_out",
    "gold",
    "template",
    "held_out",
}


def quiet(*_):
    pass


def alone(question, number, agent):
    """Nobody ever agrees (up to four agents)."""
    return "ABCD"[(agent + number) % 4] if agent else "A"


@pytest.fixture
def debated(tmp_path, monkeypatch):
    """A function that runs the debate stage on mini_med with an engine; returns the log."""

    def run(engine, config=DEBATE, n=3, name="debates", **changes):
        monkeypatch.setattr(engines, "make", lambda model, config: engine)
        return generation.run(tmp_path / f"{name}.parquet", CELL.but(**changes), n, config, ENGINE, quiet)

    return run


def sizes(log):
    """The number of rows of each (problem, round)."""
    return log.groupby(["problem", "round"], sort=False).size().to_dict()


@pytest.mark.parametrize("agents", [2, 5, 20])
def test_every_agent_speaks_in_every_round(debated, agents):
    engine = Scripted(lambda question, number, agent: None)
    log = debated(engine, but(DEBATE, agents=agents))
    problems = [p.id for p in tasks.problems("mini_med", "train", 3)]
    assert sizes(log) == {**{(p, r): agents for r in (1, 2, 3) for p in problems}, **{(p, 4): 1 for p in problems}}
    for (_, number), rows in log.groupby(["problem", "round"]):
        assert list(rows.agent) == ([0] if number == 4 else list(range(1, agents + 1)))
        assert [marks(text) for text in rows.text] == [[(number, agent)] for agent in rows.agent]


def test_columns(debated, tmp_path):
    log = debated(Scripted(lambda question, number, agent: "C" if agent == 2 else None))
    coordinates = {"teacher": "some/teacher", "task": "mini_med", "split": "train", "protocol": "debate", "seed": 3}
    assert set(log.columns) == COLUMNS | coordinates.keys()
    assert {column: set(log[column]) for column in coordinates} == {k: {v} for k, v in coordinates.items()}
    by_id = {p.id: p for p in tasks.problems("mini_med", "train", 3)}
    assert list(log.gold) == [by_id[p].answer for p in log.problem]
    assert list(log.template) == [by_id[p].template for p in log.problem]
    assert list(log.answer.fillna("")) == ["C" if a == 2 else "" for a in log.agent]
    assert list(log.strict) == list(log.agent == 2)
    assert list(log.finish) == ["stop" if a == 2 else "length" for a in log.agent]
    assert (log.tokens_cached == 7).all() and (log.tokens_in > 0).all()
    assert list(log.tokens_out) == [len(t) for t in log.text]
    again = debated(Scripted(None, fail_at=1))  # read from its file
    pd.testing.assert_frame_equal(again, log)
    manifest = json.loads(store.manifest_path(tmp_path / "debates.parquet").read_text())
    assert (manifest["truncated"], manifest["unparsed"], manifest["rows"]) == (
        (log.agent != 2).sum(),
        (log.agent != 2).sum(),
        len(log),
    )


def test_the_axes_of_a_cell_are_columns_of_its_log(debated, tmp_path):
    """Two cells of a study that differ in an axis alone have logs that can be told apart."""
    axes = (("debate.agents", 2), ("debate.wording", "terse"))
    log = debated(Scripted(alone), but(DEBATE, agents=2), axes=axes)
    assert set(log["debate.agents"]) == {2} and set(log["debate.wording"]) == {"terse"}
    about = json.loads(store.manifest_path(tmp_path / "debates.parquet").read_text())["about"]
    assert about["debate.agents"] == 2


@pytest.mark.parametrize("layout", ["shared", "own_history"])
@pytest.mark.parametrize("agents", [2, 5, 20])
def test_prompts_hold_the_traces_of_the_last_round(debated, agents, layout):
    engine = Scripted(lambda question, number, agent: None)
    debated(engine, but(DEBATE, agents=agents, layout=layout))
    questions = {p.question for p in tasks.problems("mini_med", "train", 3)}
    seen = []
    for chats, _, _ in engine.requests:
        for chat in chats:
            assert any(chat[0]["content"].startswith(question) for question in questions)
            shown = marks("\n".join(turn["content"] for turn in chat))
            number = max((r for r, _ in shown), default=0)
            # all of one round, each once
            assert sorted(shown) == [(number, agent) for agent in range(1, agents + 1) if number]
            if layout == "own_history" and len(chat) == 3:
                assert chat[0]["content"] in questions
                assert marks(chat[1]["content"]) not in ([], marks(chat[2]["content"]))
            else:
                assert len(chat) == 1 and shown == sorted(shown)
            seen.append(number)
    assert sorted(seen) == [0] * 3 * agents + [1] * 3 * agents + [2] * 3 * agents + [3] * 3
    dialogues = sum(len(chat) == 3 for chats, _, _ in engine.requests for chat in chats)
    assert dialogues == (2 * 3 * agents if layout == "own_history" else 0)  # the rounds after the first


class Checking(Scripted):
    """Replies as the zoo's networks do: the peers' steps are checked before the solution."""

    def _reply(self, chat, nth):
        reply = super()._reply(chat, nth)
        return replace(
            reply, text=f"Check 1: gets 1+1=2 said 2 ok, gets 2+2=4 said 5 no\nCheck: repair 1\n{reply.text}"
        )


@pytest.mark.parametrize("layout", ["shared", "own_history"])
def test_prompts_hold_the_traces_without_their_checks(debated, layout):
    """The log has them; the next round and the aggregator see the solutions alone."""
    engine = Checking(alone)
    log = debated(engine, but(DEBATE, layout=layout))
    for text in log.text:
        (verdict,) = checks.verdicts(text)
        assert (verdict.agent, verdict.wrong, checks.choice(text)) == (1, True, ("repair", 1))
    seen = [chat for chats, _, _ in engine.requests for chat in chats]
    assert not any("Check" in turn["content"] or "gets" in turn["content"] for chat in seen for turn in chat)
    shown = {tuple(marks("\n".join(turn["content"] for turn in chat))) for chat in seen}
    assert {frozenset(held) for held in shown} == {frozenset((n, k) for k in (1, 2, 3) if n) for n in range(4)}


def test_shuffled_peers_are_another_problems(debated):
    """In every later round, each problem still in debate is shown the traces of the next one; round 1 is unchanged."""
    engine = Scripted(lambda question, number, agent: None)
    log = debated(engine, but(DEBATE, chunk=9), protocol="shuffled")
    real = debated(Scripted(lambda question, number, agent: None), but(DEBATE, chunk=9), name="real")
    assert sizes(log) == sizes(real)
    questions = [p.question for p in tasks.problems("mini_med", "train", 3)]
    assert list(log[log["round"] == 1].text) == list(real[real["round"] == 1].text)

    class Named(Scripted):
        def _reply(self, chat, nth):
            reply = super()._reply(chat, nth)
            return engines.Completion(f"{reply.text} of problem {index_of(chat)}", (1,), "stop", 1, 0, 1)

    def index_of(chat):
        return next(n for n, q in enumerate(questions) if chat[0]["content"].startswith(q))

    for protocol, shift in (("debate", 0), ("shuffled", 1)):
        named = Named(lambda question, number, agent: None)
        debated(named, but(DEBATE, chunk=9), protocol=protocol, name=f"named {protocol}")
        for chats, _, _ in named.requests[1:3]:
            for chat in chats:
                shown = set(re.findall(r"of problem (\d)", chat[0]["content"]))
                assert shown == {str((index_of(chat) + shift) % 3)}


def test_agents_of_a_problem_lie_side_by_side(debated):
    engine = Scripted(alone)
    debated(engine, but(DEBATE, chunk=2))
    assert [len(chats) for chats, _, _ in engine.requests] == [6, 3, 6, 3, 6, 3, 2, 1]
    for chats, _, _ in engine.requests:
        starts = [chat[0]["content"].split("\n\n")[0] for chat in chats]
        assert sum(a != b for a, b in pairwise(starts)) == len(set(starts)) - 1
    assert len({seed for _, _, seed in engine.requests}) == len(engine.requests)


def by_order(*scripts):
    """Problem n of mini_med's train split is answered by scripts[n](round, agent)."""
    questions = [p.question for p in tasks.problems("mini_med", "train", len(scripts))]
    return lambda question, number, agent: scripts[questions.index(question)](number, agent) if agent else "D"


AT_ONCE = by_order(
    lambda number, agent: "B",  # all agree at once
    lambda number, agent: "B" if number >= 2 else "ABC"[agent - 1],  # all agree after round 2
    lambda number, agent: "AAB"[agent - 1],  # two of three
    lambda number, agent: [None, "A", None][agent - 1],  # one vote only
    lambda number, agent: ["A", "A", None][agent - 1],  # two of three, the third has no answer
)


@pytest.mark.parametrize(
    ("rule", "rounds"), [("unanimous", [1, 2, 3, 3, 3]), ("majority", [1, 2, 1, 3, 1]), ("off", [3, 3, 3, 3, 3])]
)
def test_consensus_stops_a_debate(debated, rule, rounds):
    log = debated(Scripted(AT_ONCE), but(DEBATE, consensus=rule), n=5)
    problems = [p.id for p in tasks.problems("mini_med", "train", 5)]
    assert log[log.agent > 0].groupby("problem")["round"].max().loc[problems].tolist() == rounds
    extra = log[log.agent == 0].set_index("problem")
    assert extra["round"].loc[problems].tolist() == [r + 1 for r in rounds]
    assert (extra.answer == "D").all() and len(extra) == 5


def test_consensus_in_the_first_round_of_all(debated):
    engine = Scripted(lambda question, number, agent: "B")
    log = debated(engine)
    assert set(log["round"]) == {1, 2} and len(log) == 3 * 4
    assert engine.calls == 4  # two chunks of round 1, two of the aggregator


def test_the_majority_aggregator_generates_nothing(debated):
    script = by_order(
        lambda number, agent: "BAA"[agent - 1], lambda number, agent: "CBA"[agent - 1], lambda number, agent: None
    )
    engine = Scripted(script)
    log = debated(engine, but(DEBATE, aggregator="majority", consensus="off"))
    assert engine.calls == 6
    extra = log[log.agent == 0]
    assert list(extra["round"]) == [4, 4, 4]
    assert list(extra.answer.fillna("")) == ["A", "C", ""]  # ties: the first; nobody answered: nothing
    assert list(extra.text) == ["r3a2\nAnswer: A", "r3a1\nAnswer: C", ""]
    assert extra[["tokens_in", "tokens_cached", "tokens_out"]].to_numpy().sum() == 0 and (extra.finish == "stop").all()


def test_the_llm_aggregator_sees_the_last_round(debated):
    engine = Scripted(AT_ONCE)
    debated(engine, n=5)
    chats = [chat for chats, _, _ in engine.requests for chat in chats if "Sum up" in chat[-1]["content"]]
    assert [max(marks(chat[0]["content"]))[0] for chat in chats] == [1, 2, 3, 3, 3]


@pytest.mark.parametrize(
    ("config", "samples"), [({}, 10), ({"agents": 5}, 16), ({"agents": 5, "aggregator": "majority"}, 15)]
)
def test_self_consistency_has_as_many_samples_as_a_debate(debated, config, samples):
    config = but(DEBATE, **config)
    engine = Scripted(alone)
    log = debated(engine, config, protocol="self_consistency")
    assert samples == self_consistency.samples(config)
    assert sizes(log) == {(p.id, 1): samples for p in tasks.problems("mini_med", "train", 3)}
    assert all(list(rows.agent) == list(range(1, samples + 1)) for _, rows in log.groupby("problem"))
    assert all(marks(chat[0]["content"]) == [] for chats, _, _ in engine.requests for chat in chats)
    full = debated(Scripted(alone), but(config, consensus="off"), name="full")
    assert len(full[full.tokens_in > 0]) == len(log)


def test_a_single_agent(debated):
    log = debated(Scripted(alone), protocol="single")
    assert sizes(log) == {(p.id, 1): 1 for p in tasks.problems("mini_med", "train", 3)} and list(log.agent) == [1, 1, 1]


def test_the_sampling_and_the_seed_are_the_params(debated):
    first, again, other = Scripted(alone), Scripted(alone), Scripted(alone)
    debated(first, name="a")
    debated(again, name="b")
    debated(other, name="c", seed=4)
    assert {(s.temperature, s.top_p, s.max_new_tokens) for _, s, _ in first.requests} == {(0.8, 1.0, 6)}
    assert [m[2] for m in first.requests] == [m[2] for m in again.requests]
    assert not {m[2] for m in first.requests} & {m[2] for m in other.requests}


def test_a_failing_engine_costs_one_chunk(debated, tmp_path):
    """Whichever call fails, the next run generates only what is missing and ends with the same rows."""
    whole = Scripted(AT_ONCE)
    log = debated(whole, n=5, name="whole")
    assert whole.calls == 10
    for k in range(1, whole.calls + 1):
        first, second = Scripted(AT_ONCE, fail_at=k), Scripted(AT_ONCE)
        with pytest.raises(RuntimeError, match="the power went out"):
            debated(first, n=5, name=f"cut{k}")
        assert not (tmp_path / f"cut{k}.parquet").exists()
        pd.testing.assert_frame_equal(debated(second, n=5, name=f"cut{k}"), log)
        assert first.requests + second.requests == whole.requests
        assert not (tmp_path / f"cut{k}.journal").exists()


def test_an_engine_that_fails_again_and_again(debated):
    log = debated(Scripted(AT_ONCE), n=5, name="whole")
    for _ in range(9):
        with pytest.raises(RuntimeError):
            debated(Scripted(AT_ONCE, fail_at=2), n=5)
    last = Scripted(AT_ONCE)
    pd.testing.assert_frame_equal(debated(last, n=5), log)
    assert last.calls == 1


def test_an_interrupt_keeps_what_is_finished(debated, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        debated(Scripted(alone, fail_at=4, error=KeyboardInterrupt))
    lines = (tmp_path / "debates.journal").read_text().splitlines()
    assert [json.loads(line.partition(" ")[2]).get("chunk") for line in lines] == [
        None,
        "round 1 0",
        "round 1 1",
        "round 2 0",
    ]
    second = Scripted(alone)
    debated(second)
    assert second.calls == 8 - 3


def test_a_half_written_line_is_recomputed(debated, tmp_path):
    log = debated(Scripted(alone), name="whole")
    with pytest.raises(RuntimeError):
        debated(Scripted(alone, fail_at=4))
    journal = tmp_path / "debates.journal"
    journal.write_bytes(journal.read_bytes()[:-20])
    second = Scripted(alone)
    pd.testing.assert_frame_equal(debated(second), log)
    assert second.calls == 8 - 2
    assert json.loads(store.manifest_path(tmp_path / "debates.parquet").read_text())["repaired_lines"] == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"temperature": 0.5}, r"debate\.temperature: was 0.8, now 0.5"), ({"chunk": 3}, r"debate\.chunk")],
)
def test_an_unfinished_journal_is_not_continued_with_other_params(debated, changed, message):
    with pytest.raises(RuntimeError):
        debated(Scripted(alone, fail_at=4))
    with pytest.raises(store.StoreError, match=message):
        debated(Scripted(alone), but(DEBATE, **changed))
    with pytest.raises(store.StoreError, match="seed: was 3, now 4"):
        debated(Scripted(alone), seed=4)
    second = Scripted(alone)
    debated(second)
    assert second.calls == 8 - 3


def test_a_finished_log_with_other_params_is_recomputed(debated, capsys):
    debated(Scripted(alone))
    other = Scripted(alone)
    debated(other, but(DEBATE, temperature=0.5))
    assert other.calls == 8 and "debate.temperature" in capsys.readouterr().err


# With a real network

SHORT = but(DEBATE, max_new_tokens=4, chunk=1, consensus="off", agents=2)


def cell_of(network):
    return CELL.but(teacher=network, train="mini_gsm")


def real(path, network):
    return generation.run(path, cell_of(network), 4, SHORT, ENGINE, quiet)


@pytest.fixture(scope="module")
def uninterrupted(networks, tmp_path_factory):
    return real(tmp_path_factory.mktemp("whole") / "debates.parquet", networks["llama"])


@pytest.mark.parametrize("k", [2, 7, 16])
def test_a_real_network_resumes(networks, tmp_path, monkeypatch, uninterrupted, k):
    path = tmp_path / "debates.parquet"
    engine = engines.make(networks["llama"], ENGINE)
    generate, calls = engine.generate, []

    def failing(*args):
        calls.append(args)
        if len(calls) == k:
            raise KeyboardInterrupt
        return generate(*args)

    monkeypatch.setattr(engine, "generate", failing)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(engines, "make", lambda *_: engine)
        real(path, networks["llama"])
    pd.testing.assert_frame_equal(real(path, networks["llama"]), uninterrupted)
    assert uninterrupted.text.nunique() > 20  # noise, but not all the same


def test_a_smaller_log_is_the_first_problems_of_a_larger_one(networks, tmp_path, monkeypatch):
    """Generated alone or taken from the log of more problems, it has the same rows: its size may be an axis."""
    config = but(SHORT, chunk=3)  # the last chunk of 4 problems has others in it than that of 2

    def run(name, n, size, **changes):
        cell = cell_of(networks["llama"]).but(axes=(("sizes.train", size),), **changes)
        return generation.run(tmp_path / f"{name}.parquet", cell, n, config, ENGINE, quiet)

    (tmp_path / "alone").mkdir()
    run("alone/debates", 2, 2)
    alone = pd.read_parquet(tmp_path / "alone" / "debates.parquet")
    larger = run("larger", 4, 4)
    run("shuffled_larger", 4, 4, protocol="shuffled")
    with monkeypatch.context() as patch:
        patch.setattr(engines, "make", lambda *_: pytest.fail("it generates again"))
        taken = run("smaller", 2, 2)
        assert list(taken.columns) == list(alone.columns)
        assert taken.fillna("").to_dict("records") == alone.fillna("").to_dict("records")
        pd.testing.assert_frame_equal(run("smaller", 2, 2), taken)
        assert run("all", 4, 5).text.tolist() == larger.text.tolist()
    assert json.loads(store.manifest_path(tmp_path / "smaller.parquet").read_text())["taken_from"] == "larger.parquet"
    calls = []
    monkeypatch.setattr(engines, "make", lambda *_: calls.append(1) or Scripted(lambda *_: "7"))
    run("more", 5, 5)
    run("another_seed", 2, 2, seed=4)
    run("shuffled", 2, 2, protocol="shuffled")  # its agents are shown the traces of the next problem
    assert len(calls) == 3


def test_other_weights_are_another_teacher(networks, tmp_path, monkeypatch):
    path = tmp_path / "debates.parquet"
    monkeypatch.setattr(engines, "make", lambda *_: Scripted(lambda *_: "7", fail_at=3))
    with pytest.raises(RuntimeError):
        real(path, networks["llama"])
    with pytest.raises(store.StoreError, match="revision"):
        real(path, networks["qwen3"])


def test_a_killed_process_resumes(networks, tmp_path, uninterrupted):
    """SIGKILL, three times: each process continues where the one before was killed."""
    path, journal = tmp_path / "debates.parquet", tmp_path / "debates.journal"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["agentark.mas.generation", "agentark.engines.transformers_engine"]
    )  # import torch once

    def chunks():
        return journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0

    kills, before = 0, 0
    for expected in (1, 5, 9):
        process = context.Process(target=tiny.debate_until_killed, args=(path, cell_of(networks["llama"]), 4, SHORT))
        process.start()
        until = time.monotonic() + 60
        while chunks() < expected and process.is_alive() and time.monotonic() < until:
            time.sleep(0.001)
        process.kill()
        process.join()
        kills += process.exitcode == -9
        assert chunks() >= before or path.exists()
        before = chunks()
    assert kills >= 2  # once, the process may finish before it is killed
    pd.testing.assert_frame_equal(real(path, networks["llama"]), uninterrupted)


def test_votes():
    equal = tasks.get("mini_gsm").equal
    assert votes.tally(["2", "1", None, "1.0", "2.0", "3"], equal) == [("2", 2), ("1", 2), ("3", 1)]
    assert votes.majority([None, "1", "2", "2"], equal) == "2" and votes.majority(["3", "1"], equal) == "3"
    assert votes.majority([None], equal) is None
    assert not votes.consensus([None, None], equal, "unanimous") and not votes.consensus(["1", None], equal, "majority")
    assert votes.consensus(["1", "1.0"], equal, "unanimous") and not votes.consensus(["1", "1"], equal, "off")
