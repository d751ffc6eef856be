"""The number of agents (4.3, Fig. 4): votes of more and more samples, what a debate's prompts cost, whom agents judge.

Debates against votes of as many samples are `protocols.ways`, changes from number to number `scaling.steps`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from agentark import params
from agentark.cells.cell import NONE
from agentark.distill.artifacts import STUDENTS
from agentark.evaluate.jobs import PREDICTIONS
from agentark.graph.job import Job, Study, report_job
from agentark.mas import checks, prompts
from agentark.mas import jobs as generation

from . import jobs as reports
from .protocols import DEBATE, VOTE

if TYPE_CHECKING:  # the graph imports this module for `jobs`, which needs neither pandas nor scipy
    import pandas as pd

    from .collect import Logs

AXIS = "debate.agents"
TEACHERS = ("teacher_debate", "teacher_majority")  # the answers of which each number of agents is compared
COUNTS = (1, 2, 3, 5, 10, 20, 40)  # samples of a vote: the numbers of agents, and both rounds of the most
VOTES = ["teacher", "task", "samples", "n", "accuracy", "low", "high", "tokens_out"]
READ = ["teacher", "task", AXIS, "layout", "problems", "read", "computed", "low", "high", "revised", "as_logged"]
JUDGED = ["teacher", "task", AXIS, "replies", "cut_off", "agents_judged", "share_judged", "letters_repeat"]


def votes(found: Logs, level: float, counts: Sequence[int] = COUNTS) -> pd.DataFrame:
    """Votes of the first samples of the largest log of independent samples: VOTES, one row per teacher, task and count.

    found: the graded logs of test problems (`collect.logs`).  low, high: Wilson's interval.  tokens_out: generated per
    problem.  Counts that are more than the log has are left out.
    """
    import pandas as pd

    from agentark import stats
    from agentark.evaluate import group

    largest: dict[tuple[str, str], pd.DataFrame] = {}
    for cell, log in found:
        key = cell.teacher, cell.task
        if cell.protocol == VOTE and (key not in largest or log.agent.max() > largest[key].agent.max()):
            largest[key] = log
    rows = []
    for (teacher, task), log in largest.items():
        problems = log.problem.unique()
        for count in (count for count in counts if count <= log.agent.max()):
            right = group.majority(log, task, {}, dict.fromkeys(problems, count)).correct_flexible
            low, high = stats.wilson(int(right.sum()), len(right), level)
            spent = log[log.agent <= count].groupby("problem").tokens_out.sum().mean()
            rows.append((teacher, task, count, len(right), right.mean(), low, high, spent))
    return pd.DataFrame(rows, columns=VOTES)


def teachers(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows of TEACHERS of what `collect.predictions` returns, for `scaling.along` and `scaling.steps`."""
    return predictions[predictions.method.isin(TEACHERS)]


def prompt_tokens(log: pd.DataFrame, layout: str, wording: str, tokenizer: Any, batch: int) -> pd.DataFrame:
    """The tokens of the prompts of a second round, whoever would go on to it: one row per problem of a debate's log.

    Columns: problem; read, of the prompts of all its agents; computed, what remains if each group of neighbouring
    prompts shares its prefix, as the engine groups at most `batch` of them (`engines.batching`); logged, the read
    tokens of the log's second round, NaN if the problem has none.  Nothing is generated.
    """
    import pandas as pd

    from agentark import tasks
    from agentark.engines import batching, tokens

    first = log[log["round"] == 1].sort_values("agent")
    task, split = first.task.iloc[0], first.split.iloc[0]
    known = {problem.id: problem for problem in tasks.problems(task, split, first.problem.nunique())}
    logged = log[(log["round"] == 2) & (log.agent > 0)].groupby("problem").tokens_in.sum()
    rows = []
    for name, texts in first.groupby("problem", sort=False).text:
        problem, words = known[str(name)], prompts.WORDINGS[wording]
        asked = [
            prompts.revise(tasks.get(task).prompt(problem), list(texts), agent, layout, words, problem.image)
            for agent in range(1, len(texts) + 1)
        ]
        ids = [tokens.encode(tokenizer, text) for text in tokens.prompt_texts(tokenizer, asked)]
        read, computed = sum(map(len, ids)), 0
        for group in batching.group_by_prefix(ids, batch):
            shared = batching.prefix_length([ids[index] for index in group])
            computed += sum(len(ids[index]) for index in group) - shared * (len(group) - 1)
        rows.append((name, read, computed, logged.get(name)))
    return pd.DataFrame(rows, columns=["problem", "read", "computed", "logged"]).astype({"logged": float})


def tokens(found: Logs, config: params.Params, tokenizers: dict[str, Any], most: int = 40) -> pd.DataFrame:
    """What the prompts of a second round cost in both layouts: READ, one row per debate of test problems and layout.

    tokenizers: by teacher.  read, computed: means over the first `most` problems of a log (`prompt_tokens`), with a
    bootstrap interval of computed.  revised: the problems that had a second round; as_logged: of these, those whose
    prompts have as many tokens as the log says (NaN in the layout that was not run).
    """
    import pandas as pd

    from .measured import mean

    stats, rows = config.stats, []
    for cell, log in found:
        if cell.protocol != DEBATE:
            continue
        for layout in prompts.LAYOUTS:
            about = layout, config.debate.wording, tokenizers[cell.teacher], config.teacher_engine.batch or 1
            counted = prompt_tokens(log[log.problem.isin(log.problem.unique()[:most])], *about)
            n, middle, low, high = mean(list(counted.computed), stats.level, stats.resamples)
            revised = counted[counted.logged.notna()]
            same = (revised.read == revised.logged).sum() if layout == config.debate.layout else float("nan")
            place = cell.teacher, cell.task, dict(cell.axes)[AXIS], layout
            rows.append((*place, n, counted["read"].mean(), middle, low, high, len(revised), same))
    return pd.DataFrame(rows, columns=READ).sort_values(READ[:4], ignore_index=True)


def judged(found: Logs) -> pd.DataFrame:
    """Whom the agents of a debate judge in its second round: JUDGED, one row per debate that has one.

    Only the networks of the zoo write such verdicts (`mas.checks`).  cut_off: the share of replies that reached
    `debate.max_new_tokens`.  agents_judged: the different agents of which a reply says something, its own included;
    share_judged: as a share of all.  letters_repeat: the share of the revised problems that list more lines than there
    are letters for them, so that a letter names several lines.
    """
    import pandas as pd

    rows = []
    for cell, log in found:
        replies = log[(log["round"] == 2) & (log.agent > 0)]
        if cell.protocol != DEBATE or replies.empty:
            continue
        agents = int(dict(cell.axes)[AXIS])
        named = [len({said.agent for said in checks.verdicts(text) if said.agent <= agents}) for text in replies.text]
        mean = sum(named) / len(named)
        first = log[(log["round"] == 1) & log.problem.isin(replies.problem)]
        lines = first.text.map(lambda text: sum(bool(line.strip()) for line in text.splitlines()))
        many = (lines.groupby(first.problem).sum() > len(prompts.LETTERS)).mean()
        place = cell.teacher, cell.task, agents
        rows.append((*place, len(replies), (replies.finish == "length").mean(), mean, mean / agents, many))
    return pd.DataFrame(rows, columns=JUDGED).sort_values(JUDGED[:3], ignore_index=True)


def students(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows of students, untrained ones included, without votes of the untrained."""
    return predictions[(predictions.student != NONE) & (predictions.method != "base_majority")]


def jobs(study: Study) -> Iterator[Job]:
    """The analysis of the number of agents, if the study varies it."""
    if len(study.base.study.axes.get(AXIS, [])) > 1:
        debates = [job for job in generation.jobs(study) if job.coordinates["split"] == "test"]
        inputs = [*(path for job in debates for path in job.outputs), *reports.graded(study, PREDICTIONS.folder)]
        names = [f"agent_scaling{part}.csv" for part in ("", "_steps", "_tokens", "_students")]
        files = {"inputs": [*inputs, *reports.written(study, STUDENTS.folder)]}
        files["outputs"] = [study.files.root / name for name in names]
        code = ["collect", "seeds", "scaling", "protocols", "agents"]
        graders, sections = reports.graders(study), ["stats", "debate", "engine"]
        yield report_job(study, "11_agent_scaling", code, graders, sections=sections, **files)
