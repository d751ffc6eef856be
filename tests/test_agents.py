"""The number of agents: votes of more samples, the prompts of both layouts, whom agents judge, and what a study runs."""

from types import SimpleNamespace

import pandas as pd
import pytest
from test_protocols import graded

from agentark import params, stats, store, tasks
from agentark.cells import Cell
from agentark.graph import graph
from agentark.graph.job import Study
from agentark.mas import prompts
from agentark.report import agents, agents_shown, protocols

AXIS = agents.AXIS
CONFIG = params.load(store.ROOT / "params" / "mini-agents.yaml")[0]
PROBLEMS = tasks.problems("mini_gsm", "test", 3)


def cell(number, protocol="debate") -> Cell:
    return Cell("t", test="mini_gsm", protocol=protocol, split="test", axes=((AXIS, number),))


class Words:
    """A tokenizer whose tokens are words; each turn is preceded by its role."""

    def __init__(self):
        self.known = {}

    def apply_chat_template(self, chat, add_generation_prompt, tokenize):
        return " ".join(f"<{turn['role']}> {turn['content']}" for turn in chat) + " <assistant>"

    def __call__(self, text, add_special_tokens):
        ids = [self.known.setdefault(word, len(self.known)) for word in text.split()]
        return SimpleNamespace(input_ids=ids)


def debate(traces, revised=None) -> pd.DataFrame:
    """A log of two problems with these first traces, the second revised with prompts of `revised` tokens each."""
    rows = [
        {"problem": p.id, "round": 1, "agent": k, "text": text, "tokens_in": 7, "task": "mini_gsm", "split": "test"}
        for p in PROBLEMS[:2] for k, text in enumerate(traces, 1)
    ]  # fmt: skip
    if revised:
        rows += [row | {"round": 2, "tokens_in": revised} for row in rows if row["problem"] == PROBLEMS[1].id]
    return pd.DataFrame(rows)


def test_votes_of_the_first_samples_of_the_largest_log():
    log = graded("self_consistency", {1: ["12222", "11222", "21111"]})
    small = graded("self_consistency", {1: ["2", "2", "2"]})
    found = [(cell(1, "self_consistency"), small), (cell(3, "self_consistency"), log), (cell(3), log)]
    table = agents.votes(found, 0.95, (1, 3, 5, 40))
    # of the first sample 1, 1, 2; of three 2, 1, 1; of five 2, 2, 1: gold is 1
    assert list(table.samples) == [1, 3, 5] and set(table.n) == {3}
    assert table.accuracy.tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 3])
    assert table.tokens_out.tolist() == [5, 15, 25]
    assert tuple(table.loc[2, ["low", "high"]]) == pytest.approx(stats.wilson(1, 3, 0.95))
    assert list(agents.votes([], 0.95).columns) == agents.VOTES


def test_the_prompts_of_both_layouts_by_hand():
    """A question of q words, and three traces of 2, 3 and 4 words in one line each; a listed line has a letter more."""
    traces = ["a b", "c d e", "f g h i"]
    q = len(tasks.get("mini_gsm").prompt(PROBLEMS[0]).split())
    counted = {
        layout: agents.prompt_tokens(debate(traces), layout, "terse", Words(), 80).set_index("problem")
        for layout in prompts.LAYOUTS
    }
    # shared: <user>, q, "Solutions:", three times "Agent k:" and a letter, 9 words, the last line of 10, <assistant>
    one = 1 + q + 1 + 3 * 3 + 9 + 10 + 1
    shared = one - 8  # all but "k. Find mistakes and solve it again." and <assistant> are common
    assert counted["shared"]["read"][PROBLEMS[0].id] == 3 * one
    assert counted["shared"].computed[PROBLEMS[0].id] == 3 * one - 2 * shared
    # own_history: two user turns and the own one, 4 roles in all; two peers; "Find mistakes and solve it again."
    each = [q + own + 4 + 1 + 2 * 3 + (9 - own) + 6 for own in (2, 3, 4)]
    assert counted["own_history"]["read"][PROBLEMS[0].id] == sum(each)
    assert counted["own_history"].computed[PROBLEMS[0].id] == sum(each)  # less than half is common: it is not shared
    assert counted["shared"].logged.isna().all()


def test_tokens_are_checked_against_the_log():
    q = [len(tasks.get("mini_gsm").prompt(p).split()) for p in PROBLEMS[:2]]
    one = 1 + q[1] + 1 + 2 * 3 + 4 + 10 + 1
    found = [(cell(2), debate(["a b", "c d"], one)), (cell(3, "self_consistency"), debate(["a b", "c d"]))]
    table = agents.tokens(found, CONFIG, {"t": Words()}).set_index("layout")
    assert set(table[AXIS]) == {2} and set(table.problems) == {2} and set(table.revised) == {1}
    assert table.as_logged["shared"] == 1 and pd.isna(table.as_logged["own_history"])
    assert table["read"]["shared"] == pytest.approx(2 * one + q[0] - q[1])
    [row] = agents.tokens([(cell(2), debate(["a b", "c d"], one + 1))], CONFIG, {"t": Words()}).head(1).itertuples()
    assert row.layout == "own_history"
    wrong = agents.tokens([(cell(2), debate(["a b", "c d"], one + 1))], CONFIG, {"t": Words()}).set_index("layout")
    assert wrong.as_logged["shared"] == 0
    assert set(agents.tokens(found[:1], CONFIG, {"t": Words()}, most=1).problems) == {1}
    shown = agents_shown.prompt_tokens(agents.tokens(found, CONFIG, {"t": Words()}))
    assert list(shown["as in the log"]) == ["", "1 of 1"]


def test_whom_agents_judge():
    said = "Check 1: A 1+1=2 said 2 ok\nCheck 2: B 1+1=2 said 3 no\nCheck 9: A 1+1=2 said 2 ok\nAnswer: 2"
    rows = [
        {"problem": "p", "round": number, "agent": agent, "text": text, "finish": finish}
        for number, agent, text, finish in (
            (1, 1, "\n".join("x" * 50), "stop"), (1, 2, "a\n\nb", "stop"), (2, 1, said, "stop"), (2, 2, "none", "length"))
    ]  # fmt: skip
    log = pd.DataFrame(rows)
    [row] = agents.judged([(cell(2), log), (cell(2, "self_consistency"), log)]).itertuples()
    assert (row.replies, row.cut_off, row.agents_judged, row.share_judged) == (2, 0.5, 1.0, 0.5)  # there is no agent 9
    assert row.letters_repeat == 1  # 52 lines, 51 letters
    assert agents.judged([(cell(2), log[log["round"] == 1])]).empty


def test_the_figures_and_tables_for_reading():
    logs = {"debate": {1: ["12", "22", "11"], 2: ["12"]}, "self_consistency": {1: ["1222", "2211", "1122"]}}
    found = [(cell(n, name), graded(name, rounds)) for n in (2, 3) for name, rounds in logs.items()]
    judge = [
        (where, pd.concat([log, log[(log["round"] == 1) & (log.agent == 1)].assign(agent=0, round=3, tokens_in=0)]))
        if where.protocol == "debate" else (where, log)
        for where, log in found
    ]  # fmt: skip
    ways, votes = protocols.ways(judge, 0.95, 100), agents.votes(judge, 0.95)
    assert list(agents_shown.ways(ways).agents) == [2, 3] and "protocol" not in agents_shown.ways(ways)
    assert list(agents_shown.votes(votes).samples) == [1, 2, 3]
    figure = agents_shown.answers(ways, votes)
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["2", "3"]
    assert figure.axes[1].get_xlabel() == "completions a problem"
    with pytest.raises(ValueError, match="nothing to draw"):
        agents_shown.answers(ways[ways.protocol == "none"], votes)
    counted = agents.tokens([(cell(n), debate(["a b", "c d e", "f"][:n])) for n in (2, 3)], CONFIG, {"t": Words()})
    [axes] = agents_shown.tokens(counted).axes
    assert len(axes.lines) == 4 and list(axes.lines[0].get_xdata()) == [2, 3]


def test_only_a_study_that_varies_the_number_has_the_notebook():
    jobs = {job.notebook: job for job in graph.all_jobs(CONFIG, 0)}
    names = {path.name for path in jobs["11_agent_scaling"].inputs}
    assert any(name.startswith("qwen3-32b.mini_gsm.test.debate.debate.agents=10.s0") for name in names)
    assert any("da_single.mini_gsm.debate.agents=20.s2" in name for name in names)
    assert not any(".dev." in name for name in names)
    assert {path.name for path in jobs["11_agent_scaling"].outputs} == {
        f"agent_scaling{part}.csv" for part in ("", "_steps", "_tokens", "_students")
    }
    plain = CONFIG.model_copy(update={"study": CONFIG.study.model_copy(update={"axes": {}, "taught": {}})})
    assert not list(agents.jobs(Study(plain)))


def test_the_documents_have_the_numbers_of_the_run():
    """Each number with an interval of the table in docs/results.md is that of a row, and the notebook has them all."""
    rows = pd.read_csv(store.ROOT / "results" / "reference" / "mini-agents" / "agent_scaling.csv")
    section = (store.ROOT / "docs" / "results.md").read_text().split("## The number of agents")[1].split("\n## ")[0]
    for row in rows.itertuples():
        accuracy = f"{100 * row.accuracy:.1f} [{100 * row.ci_low:.1f}, {100 * row.ci_high:.1f}]"
        difference = f"{100 * row.difference:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"
        assert f"| {accuracy} | {row.completions:.1f} | {100 * row.vote:.1f} | {difference} |" in section
