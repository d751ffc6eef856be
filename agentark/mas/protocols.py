"""Who talks to whom.  Every protocol yields the same log: a row for each (problem, round, agent).

`debate` is Du et al.'s: round 1 independent, then each agent sees the last traces of all (3.2, A.2).  `shuffled` is its control:
the agents see the traces of another problem.  `self_consistency` and `single` are independent samples.  Deviations from the
paper: DECISIONS 1-5.

Work is cut into chunks of problems.  In each round the problems still in debate are chunked anew, so that batches stay
full; which they are is a function of the rounds before, so that a resumed run cuts the same chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from agentark import params, store
from agentark.engines import Chat, Engine, Sampling
from agentark.tasks import Problem, Task

from . import prompts, votes

Work = list[tuple[Problem, int, Chat]]  # (problem, agent, its prompt)


class Logger:
    """Turns chunks of prompts into journaled rows."""

    def __init__(
        self,
        engine: Callable[[], Engine],
        task: Task,
        told: params.Debate,
        seed: int,
        journal: store.Journal,
        progress: Callable[[str, int, int], None],
    ):
        self.engine, self.task, self.told, self.seed, self.journal, self.progress = (
            engine,
            task,
            told,
            seed,
            journal,
            progress,
        )
        self.sampling = Sampling(told.temperature, told.max_new_tokens, told.top_p)

    def round(
        self, number: int, label: str, problems: list[Problem], work: Callable[[Problem], list[tuple[int, Chat]]]
    ) -> list[dict]:
        """The rows of one round: `work` gives each problem's agents and their prompts, side by side.  Finished chunks are read, not made."""
        rows: list[dict] = []
        chunks = [problems[n : n + self.told.chunk] for n in range(0, len(problems), self.told.chunk)]
        for n, chunk in enumerate(chunks):
            key = f"{label} {n}"
            if key not in self.journal.chunks:
                self.journal.add(
                    key, self._make(number, key, [(p, agent, chat) for p in chunk for agent, chat in work(p)])
                )
            rows += self.journal.chunks[key]
            self.progress(label, n + 1, len(chunks))
        return rows

    def _make(self, number: int, key: str, work: Work) -> list[dict]:
        seed = store.chunk_seed(self.seed, key)
        completions = self.engine().generate([chat for _, _, chat in work], self.sampling, seed)
        return [
            self.row(
                problem,
                number,
                agent,
                c.text,
                finish=c.finish,
                tokens_in=c.tokens_in,
                tokens_cached=c.tokens_cached,
                tokens_out=c.tokens_out,
            )
            for (problem, agent, _), c in zip(work, completions)
        ]

    def row(self, problem: Problem, number: int, agent: int, text: str, **about) -> dict:
        """A row of the log.  Whether the answer is right is not known here: that is extraction's."""
        parsed = self.task.parse(text, problem)
        return {
            "problem": problem.id,
            "round": number,
            "agent": agent,
            "text": text,
            "answer": parsed.flexible,
            "strict": parsed.strict is not None,
            **about,
        }


def independent(problems: list[Problem], samples: int, log: Logger) -> list[dict]:
    """`samples` independent answers to each problem, all in round 1: self-consistency, or with one sample a single agent."""
    return log.round(
        1, "round 1", problems, lambda p: [(agent, prompts.ask(log.task.prompt(p))) for agent in range(1, samples + 1)]
    )


def debate(problems: list[Problem], log: Logger, shuffled: bool = False) -> list[dict]:
    """n agents, up to K rounds, then the aggregator's row (agent 0, one round after the problem's last).

    `shuffled` shows the agents of each problem in debate the traces of the next one: a debate that does not depend on what is
    said goes on as well as without.
    """
    told, wording = log.told, prompts.WORDINGS[log.told.wording]
    rows = independent(problems, told.agents, log)
    last = dict(_by_problem(rows))
    active = problems
    for number in range(2, told.rounds + 1):
        active = [
            p for p in active if not votes.consensus([r["answer"] for r in last[p.id]], log.task.equal, told.consensus)
        ]
        said = [[r["text"] for r in last[p.id]] for p in active]
        traces = dict(zip([p.id for p in active], said[1:] + said[:1] if shuffled else said))
        new = log.round(
            number,
            f"round {number}",
            active,
            lambda p: [
                (agent, prompts.revise(log.task.prompt(p), traces[p.id], agent, told.layout, wording))
                for agent in range(1, told.agents + 1)
            ],
        )
        rows += new
        last.update(_by_problem(new))
    return rows + _aggregate(problems, last, log, wording)


def _aggregate(
    problems: list[Problem], last: dict[str, list[dict]], log: Logger, wording: prompts.Wording
) -> list[dict]:
    """The summing up (A.2, DECISIONS 4): an extra agent's completion, or the first trace that gives the majority's answer."""
    if log.told.aggregator == "llm":
        rows = log.round(
            0,
            "aggregator",
            problems,
            lambda p: [(0, prompts.aggregate(log.task.prompt(p), [r["text"] for r in last[p.id]], wording))],
        )
    else:
        rows = []
        for p in problems:
            answer = votes.majority([r["answer"] for r in last[p.id]], log.task.equal)
            said = next(
                (
                    r["text"]
                    for r in last[p.id]
                    if answer is not None and r["answer"] is not None and log.task.equal(answer, r["answer"])
                ),
                "",
            )
            rows.append(log.row(p, 0, 0, said, finish="stop", tokens_in=0, tokens_cached=0, tokens_out=0))
    return [{**row, "round": last[row["problem"]][0]["round"] + 1} for row in rows]


def _by_problem(rows: list[dict]) -> Iterator[tuple[str, list[dict]]]:
    """Rows grouped by problem, agents in order."""
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(row["problem"], []).append(row)
    return ((problem, sorted(group, key=lambda r: r["agent"])) for problem, group in groups.items())


def completions_of(told: params.Debate) -> int:
    """How many completions a debate of a problem has at most: what self-consistency gets as samples."""
    return told.agents * told.rounds + (told.aggregator == "llm")
