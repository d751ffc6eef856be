"""The prompts of agents, and how their answers are counted."""

import re

import pytest

from agentark.mas import prompts, votes
from agentark.mas.prompts import WORDINGS

QUESTION = "Ana has 5 nuts. How many?\nA line more."


def traces(n: int) -> list[str]:
    return [f"gets {k}+{k}={2 * k}\nAnswer: <{k}>" for k in range(1, n + 1)]


def flat(chat) -> str:
    """The turns of a chat as one text, without the letters of the lines of traces."""
    return re.sub(r"^ [A-Za-z] ", "", "\n".join(turn["content"] for turn in chat), flags=re.MULTILINE)


# Prompts


def test_round_1_is_the_question_alone():
    assert prompts.user_turn(QUESTION) == [{"role": "user", "content": QUESTION}]


@pytest.mark.parametrize("wording", WORDINGS)
@pytest.mark.parametrize("layout", prompts.LAYOUTS)
@pytest.mark.parametrize("n", [2, 5, 20])
def test_both_layouts_hold_the_same_facts(n, layout, wording):
    given = traces(n)
    for agent in range(1, n + 1):
        chat = prompts.revise(QUESTION, given, agent, layout, WORDINGS[wording])
        text = flat(chat)
        assert text.count(QUESTION) == 1 and text.startswith(QUESTION)
        assert all(text.count(trace) == 1 for trace in given), "each trace once, the agent's own included"
        assert [turn["role"] for turn in chat][:: len(chat) - 1 or 1] in (["user"], ["user", "user"])
        assert given == traces(n)


@pytest.mark.parametrize("wording", WORDINGS)
@pytest.mark.parametrize("n", [2, 5, 20])
def test_shared_differs_in_the_last_line_only(n, wording):
    texts = [flat(prompts.revise(QUESTION, traces(n), agent, "shared", WORDINGS[wording])) for agent in range(1, n + 1)]
    assert len({text.rsplit("\n", 1)[0] for text in texts}) == 1
    assert len({text.rsplit("\n", 1)[1] for text in texts}) == n
    for agent, text in enumerate(texts, 1):
        assert f"agent {agent}." in text.rsplit("\n", 1)[1]
    listed = texts[0].rsplit("\n", 1)[0]
    positions = [listed.index(f"Agent {k}:\n{trace}") for k, trace in enumerate(traces(n), 1)]
    assert positions == sorted(positions) and listed.count("Agent ") == n


@pytest.mark.parametrize("wording", WORDINGS)
@pytest.mark.parametrize("n", [2, 5, 20])
def test_own_history_has_its_own_trace_as_its_turn(n, wording):
    given = traces(n)
    for agent in range(1, n + 1):
        first, own, last = prompts.revise(QUESTION, given, agent, "own_history", WORDINGS[wording])
        last["content"] = flat([last])
        assert (first, own) == (
            {"role": "user", "content": QUESTION},
            {"role": "assistant", "content": given[agent - 1]},
        )
        assert (
            last["role"] == "user"
            and given[agent - 1] not in last["content"]
            and f"Agent {agent}:" not in last["content"]
        )
        peers = [k for k in range(1, n + 1) if k != agent]
        positions = [
            last["content"].index(f"Agent {k}:\n{given[k - 1]}") for k in peers
        ]  # numbers stay the agents' own
        assert positions == sorted(positions) and last["content"].endswith(WORDINGS[wording].revise)


@pytest.mark.parametrize("wording", WORDINGS)
def test_aggregator_sees_all(wording):
    (turn,) = prompts.aggregate(QUESTION, traces(5), WORDINGS[wording])
    shared = prompts.revise(QUESTION, traces(5), 1, "shared", WORDINGS[wording])[0]["content"]
    assert (
        turn["role"] == "user" and turn["content"].rsplit("\n", 1)[0] == shared.rsplit("\n", 1)[0]
    )  # one prefix with the agents'
    assert turn["content"].endswith(WORDINGS[wording].aggregate)


@pytest.mark.parametrize("wording", WORDINGS)
def test_self_correction_sees_its_own_trace_alone(wording):
    chat = prompts.correct(QUESTION, traces(1)[0], WORDINGS[wording])
    assert [turn["role"] for turn in chat] == ["user", "assistant", "user"]
    assert [turn["content"] for turn in chat] == [QUESTION, traces(1)[0], WORDINGS[wording].correct]


@pytest.mark.parametrize("wording", WORDINGS)
def test_opponent_and_judge_see_the_list_of_a_debate(wording):
    """Only the last line differs from a debater's, so that a prefix can be shared."""
    words, given = WORDINGS[wording], traces(2)
    (debater,) = prompts.revise(QUESTION, given, 1, "shared", words)
    for agent in (1, 2):
        (opponent,) = prompts.oppose(QUESTION, given, agent, words)
        assert opponent["content"].rsplit("\n", 1)[0] == debater["content"].rsplit("\n", 1)[0]
        assert opponent["content"].rsplit("\n", 1)[1] == words.oppose.format(k=agent)
        assert f"agent {agent}" in opponent["content"].rsplit("\n", 1)[1]
    (judge,) = prompts.judge(QUESTION, given, words)
    assert judge["role"] == opponent["role"] == "user"
    assert judge["content"].rsplit("\n", 1) == [debater["content"].rsplit("\n", 1)[0], words.judge]


CHECKED = "Check 1: gets 1+1=2 ok\nCheck 2: gets 2+2=5 no\nCheck: keep 1\ngets 1+1=2\nAnswer: <1>"


def every_prompt(given: list[str], wording) -> list[str]:
    """The prompts of all protocols, as texts."""
    chats = [prompts.revise(QUESTION, given, 1, layout, wording) for layout in prompts.LAYOUTS]
    chats += [prompts.aggregate(QUESTION, given, wording), prompts.correct(QUESTION, given[0], wording)]
    chats += [prompts.oppose(QUESTION, given, 1, wording), prompts.judge(QUESTION, given, wording)]
    return [flat(chat) for chat in chats]


def test_traces_are_shown_without_their_checks():
    """A reply's checks are for its reader; the next round sees its solution only."""
    shown = every_prompt([CHECKED, traces(2)[1]], WORDINGS["terse"])
    alone = every_prompt(traces(2), WORDINGS["terse"])
    assert shown == alone and all("gets 1+1=2\nAnswer: <1>" in text for text in shown)
    for text in every_prompt([CHECKED, CHECKED], WORDINGS["full"]):  # whose replies have no such lines
        assert CHECKED in text


def test_odd_traces():
    given = ["", "  \n x {k} \n\n", "{}"]
    text = flat(prompts.revise("{q}", given, 2, "shared", WORDINGS["terse"]))
    assert "Agent 2:\nx {k}\nAgent 3:\n{}\n" in text and text.startswith("{q}\n")


def test_each_line_of_a_list_has_its_own_letter():
    lines = prompts.lettered({2: "gets 1+1=2\n\n  Answer: 2 ", 3: "", 5: "Answer: 3"})
    assert lines == {2: [" A gets 1+1=2", " B Answer: 2"], 3: [], 5: [" C Answer: 3"]}
    many = prompts.lettered(dict(enumerate(["so\nso\nso"] * 17, 1)))
    letters = [line[1] for of in many.values() for line in of]
    assert len(letters) == len(set(letters)) == 51 and "x" not in letters
    shown = prompts.listed({2: "gets 1+1=2\nAnswer: 2", 5: "Answer: 3"}, WORDINGS["terse"])
    assert shown == "Solutions:\nAgent 2:\n A gets 1+1=2\n B Answer: 2\nAgent 5:\n C Answer: 3"
    assert " A " not in prompts.listed({2: "gets 1+1=2"}, WORDINGS["full"])


def test_wordings_are_complete():
    for wording in WORDINGS.values():
        assert "{k}" in wording.agent and "{k}" in wording.revise_as and "{k}" in wording.oppose
        last_lines = [wording.revise, wording.aggregate, wording.correct, wording.judge]
        assert "{" not in "".join([wording.heading, *last_lines])
        assert "\n" not in "".join([wording.revise_as, wording.oppose, *last_lines])
        assert len({wording.revise_as, wording.oppose, *last_lines}) == 6


def test_unknown_layout():
    with pytest.raises(ValueError, match="unknown layout 'sharde'; there are shared, own_history"):
        prompts.revise(QUESTION, traces(2), 1, "sharde", WORDINGS["terse"])


# Votes


def equal(a: str, b: str) -> bool:
    return float(a) == float(b)


def test_tally():
    assert votes.tally(["12", "13", "12.0", None, "13", "12"], equal) == [("12", 3), ("13", 2)]
    assert votes.tally(["1", "2", "2", "1", "3"], equal) == [("1", 2), ("2", 2), ("3", 1)]  # ties: who came first
    assert votes.tally([None, None], equal) == votes.tally([], equal) == []


def test_majority():
    assert votes.majority(["1", "2", "2"], equal) == "2"
    assert votes.majority(["2", "1", "1", "2"], equal) == "2"
    assert votes.majority([None, None, None, "3"], equal) == "3"  # an agent without an answer has no vote
    assert votes.majority([None], equal) is None and votes.majority([], equal) is None


@pytest.mark.parametrize(
    ("answers", "unanimous", "majority"),
    [
        (["1", "1", "1"], True, True),
        (["1", "1.0", "1"], True, True),
        (["1", "1", "2"], False, True),
        (["1", "1", None], False, True),
        (["1", "1", "2", "2"], False, False),
        (["1", "1", "2", "3"], False, False),
        (["1", "1", None, None], False, False),
        (["1", None, None], False, False),
        ([None, None], False, False),
        (["1", "2", "3", "4", "5"], False, False),
        (["1"] * 11 + ["2"] * 9, False, True),
        (["1"] * 10 + ["2"] * 10, False, False),
    ],
)
def test_consensus(answers, unanimous, majority):
    assert votes.consensus(answers, equal, "unanimous") is unanimous
    assert votes.consensus(answers, equal, "majority") is majority
    assert votes.consensus(answers, equal, "off") is False


def test_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="unanimus"):
        votes.consensus(["1", "1", "2"], equal, "unanimus")
