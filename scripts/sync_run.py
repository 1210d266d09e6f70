#!/usr/bin/env python3
"""Sends a run folder of holosig to W&B or MLflow.

    scripts/sync_run.py RUN --to wandb --project NAME            # once
    scripts/sync_run.py RUN --to mlflow --project NAME --follow  # until the run ends
    scripts/sync_run.py RUN --to wandb --dry-run                 # prints what would be sent

The job's keys become the configuration, every number of `metrics.jsonl` a metric
(`train/objective`, `validation/objective`, ...) at its step. What has been sent is noted in
`RUN/.sync-SERVICE.json`, so that a second call sends the rest. Where a run was resumed from an
earlier step, the steps that it made again are not sent twice.

Needs Python 3.11 and the package `wandb` or `mlflow`; a dry run needs neither. Exit code 2: the
input is at fault.
"""

import argparse
import json
import os
import sys
import time
import tomllib
from pathlib import Path

# Records that hold metrics, and their fields that are none.
EVENTS = ("train", "validation")
OTHER = ("event", "step", "time", "epoch")
# Records that end a process's part in a run.
LAST = ("end", "preempted")


class InputError(Exception):
    """The input is at fault: one line."""


def flat(table, prefix=""):
    """Full keys of a nested table."""
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from flat(value, f"{key}.")
        else:
            yield key, value


def configuration(run):
    """Every key of the job, and its value."""
    try:
        with open(run / "job.toml", "rb") as file:
            return dict(flat(tomllib.load(file)))
    except FileNotFoundError:
        raise InputError(f"{run}: no run folder: it has no job.toml") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{run / 'job.toml'}: {error}") from None


def records(run):
    """The whole lines of the metrics log; one that is being written is left for later."""
    try:
        text = (run / "metrics.jsonl").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    lines = text.split("\n")[:-1]
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as error:
            place = f"{run / 'metrics.jsonl'}: line {number}"
            raise InputError(f"{place}: not JSON: {error.msg}") from None
    return found


def metrics(record):
    """The numbers of a record under the names that they are sent by."""
    kind = record.get("event")
    if kind not in EVENTS:
        return {}
    numbers = {n: v for n, v in record.items() if isinstance(v, (int, float)) and n not in OTHER}
    return {f"{kind}/{name}": value for name, value in numbers.items()}


class Printed:
    """A dry run."""

    def __init__(self, run, project, config, identity):
        del project, identity
        for key, value in config.items():
            print(f"config {key} = {json.dumps(value)}")
        self.run = run

    def send(self, step, time_of, values):
        del time_of
        for name, value in values.items():
            print(f"step {step} {name} = {value!r}")

    def close(self):
        print("end")


class Wandb:
    """Weights & Biases."""

    def __init__(self, run, project, config, identity):
        import wandb

        self.identity = identity or wandb.util.generate_id()
        self.session = wandb.init(
            project=project, name=run.name, config=config, id=self.identity, resume="allow"
        )

    def send(self, step, time_of, values):
        del time_of
        self.session.log(values, step=step)

    def close(self):
        self.session.finish()


class MLflow:
    """MLflow, at the server of MLFLOW_TRACKING_URI or in ./mlruns."""

    # Most parameters that a call may send.
    BATCH = 100

    def __init__(self, run, project, config, identity):
        import mlflow

        self.mlflow = mlflow
        mlflow.set_experiment(project)
        session = mlflow.start_run(run_id=identity, run_name=None if identity else run.name)
        self.identity = session.info.run_id
        if identity is None:
            texts = [(key, str(value)[:500]) for key, value in config.items()]
            for start in range(0, len(texts), self.BATCH):
                mlflow.log_params(dict(texts[start : start + self.BATCH]))

    def send(self, step, time_of, values):
        from mlflow.entities import Metric

        at = int(1000 * time_of)
        found = [Metric(name, float(value), at, step) for name, value in values.items()]
        self.mlflow.MlflowClient().log_batch(self.identity, metrics=found)

    def close(self):
        self.mlflow.end_run()


SERVICES = {"wandb": Wandb, "mlflow": MLflow}


class Sent:
    """What has been sent, in a file of the run folder."""

    def __init__(self, run, service):
        self.path = run / f".sync-{service}.json"
        self.identity = None
        # The last step of each kind of record.
        self.steps = {}
        if self.path.exists():
            try:
                told = json.loads(self.path.read_text(encoding="utf-8"))
                self.identity, self.steps = told["run"], told["steps"]
            except (ValueError, KeyError, TypeError) as error:
                what = f"{self.path}: broken ({error}); remove it to send the run anew"
                raise InputError(what) from None

    def save(self):
        beside = self.path.with_suffix(".new")
        told = {"run": self.identity, "steps": self.steps}
        beside.write_text(json.dumps(told), encoding="utf-8")
        os.replace(beside, self.path)


def merged(found, steps):
    """Steps, times and numbers that have not been sent, records of one step together: services
    want ascending steps."""
    rows = {}
    for record in found:
        kind, values = record.get("event"), metrics(record)
        if values and record["step"] > steps.get(kind, -1):
            row = rows.setdefault(record["step"], (record.get("time", 0.0), {}, []))
            row[1].update(values)
            row[2].append(kind)
    for step in sorted(rows):
        at, values, kinds = rows[step]
        yield step, at, values, kinds


def sync(options):
    config = configuration(options.run)
    if options.dry_run:
        steps, session = {}, Printed(options.run, options.project, config, None)
    else:
        sent = Sent(options.run, options.to)
        try:
            make = SERVICES[options.to]
            session = make(options.run, options.project, config, sent.identity)
        except ImportError:
            what = f"the Python package {options.to} is not installed: pip install {options.to}"
            raise InputError(what) from None
        sent.identity, steps = session.identity, sent.steps
    while True:
        found = records(options.run)
        for step, at, values, kinds in merged(found, steps):
            session.send(step, at, values)
            steps.update((kind, step) for kind in kinds)
            if not options.dry_run:
                sent.save()
        ended = bool(found) and found[-1].get("event") in LAST
        if ended or not options.follow:
            break
        time.sleep(options.every)
    session.close()


def main():
    parser = argparse.ArgumentParser(description="Sends a run folder to W&B or MLflow.")
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--to", choices=sorted(SERVICES), required=True, help="the service")
    parser.add_argument("--project", default="holosig", help="project or experiment [holosig]")
    parser.add_argument("--follow", action="store_true", help="go on until the run ends")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between looks [10]")
    parser.add_argument("--dry-run", action="store_true", help="print, send nothing")
    options = parser.parse_args()
    try:
        sync(options)
    except InputError as error:
        print(f"sync_run: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
