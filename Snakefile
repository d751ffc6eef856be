# The graph of notebook runs, made from the study in the params file; `agentark run params/mini.yaml` calls it.
#
#   snakemake --config params=params/mini.yaml --cores 2 --keep-incomplete --rerun-incomplete
#   snakemake --config params=params/paper.yaml --executor slurm --jobs 20 --keep-incomplete --rerun-incomplete
#
# A rule is a papermill run of one notebook. Its key, a hash of all that it depends on, is a param: a job runs again when the
# key or an input changes. Outputs are marked `update`: they are journaled and resumable, so that a job starts from what is
# there instead of deleting it. If such a job fails, Snakemake takes what was there before for up to date; so each job also
# has a mark under done/, which Snakemake removes when the job starts and makes when it has ended. The executed notebook is
# under `log`, where it stays when the run fails. The priority of a job is the expected time of the longest chain of jobs that
# waits for it, so that the longest chain starts first.
import os
import sys
from urllib.parse import unquote

import yaml
from agentark import notebook, params, plan, store
from agentark.graph import graph
from agentark.graph.job import output_name
from agentark.models import load

workdir: store.ROOT

# `agentark run` writes both as parts of a URL, because Snakemake reads the values of --config as YAML.
params_file = unquote(config["params"])
teachers = [unquote(name) for name in str(config.get("teachers") or "").split(",") if name]
settings, coordinates = params.load(params_file)
settings = graph.of_teachers(settings, teachers)
notebook.check_names(settings, coordinates)
limit = int(config.get("limit", coordinates.limit))
jobs = graph.all_jobs(settings, limit)
home = f"results/{output_name(settings.study.name, limit)}"
threads_a_job = int(config.get("threads", 1))
priorities = plan.priorities(jobs, settings, limit)


def relative(paths):
    return [os.path.relpath(path, store.ROOT) for path in paths]


def mark(job):
    return f"{home}/done/{job.name}"


rule all:
    default_target: True
    input: relative(path for job in jobs for path in job.outputs), [mark(job) for job in jobs]


for job in jobs:
    rule:
        name: graph.rule_name(job)
        input: relative(job.inputs)
        output: [update(path) for path in relative(job.outputs)], mark=mark(job)
        log: notebook=f"{home}/notebooks/{job.name}.ipynb", text=f"{home}/notebooks/{job.name}.log"
        benchmark: f"{home}/benchmarks/{job.name}.tsv"
        priority: priorities[job.name]
        params:
            key=graph.key(job, limit, load.revision),
            python=lambda _: sys.executable,  # a function: another path to the same program re-runs nothing
            label=job.name,
            source=f"notebooks/{job.notebook}.ipynb",
            file=params_file,
            flat=yaml.safe_dump({**job.coordinates, "limit": limit, "inputs": "run"}, default_flow_style=True, width=10**6).strip(),
        threads: threads_a_job
        resources: mem_mb=int(config.get("mem_mb", 4000)), runtime=int(config.get("minutes", 240))
        shell:
            "echo \"$(date +%T)\" start {params.label:q}; "
            "OMP_NUM_THREADS={threads} MKL_NUM_THREADS={threads} {params.python:q} -m papermill --engine agentark --no-progress-bar --log-output "
            "{params.source:q} {log.notebook:q} -f {params.file:q} -y {params.flat:q} > {log.text:q} 2>&1 "
            "|| {{ echo FAILED {params.label:q}: {log.text:q} and {log.notebook:q} say why\\; it ends with; tail -n 12 {log.text:q}; exit 1; }}; "
            "touch {output.mark:q}; echo \"$(date +%T)\" 'done ' {params.label:q}"
