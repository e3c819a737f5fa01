"""Names that W&B, MLflow and their command lines have and steno has not: what to write in their place."""

from __future__ import annotations

from typing import Any, Final, NoReturn

_ARTIFACT: Final = "run.log_artifact(path, name=…) keeps a file or a directory"
_READ: Final = "steno.open(…).artifact(name).download(to) copies an artifact out of a run"
_CONFIG: Final = "run.config.update({…}) or steno.init(config=…)"
_EDIT: Final = "steno.open(run.dir).edit(tags=[…], notes=…, name=…) changes them, steno.init(tags=…, notes=…) sets them"
_LOOP: Final = "steno plans no sweeps; call steno.init(group=…, config=…) in a loop, then 'steno compare'"
_SERVER: Final = "steno has no server and no account: a run is a directory, and 'steno view' shows all in a browser"
_RUNS: Final = "steno.runs(where=…) lists runs, steno.open(path) reads one"
_INIT: Final = "steno.init(project=…, name=…) begins a run"
_LOG: Final = "run.log({key: value}, step=…) records numbers, texts and media"

RUN: Final = {
    "alert": "steno sends no messages; run.event(name, …) records what happened",
    "define_metric": "nothing needs to be declared: the viewer chooses the x axis, run.summary[key] = … sets a summary",
    "entity": _SERVER,
    "get_url": _SERVER,
    "group": "steno.open(run.dir).info has it",
    "job_type": "steno.init(job_type=…) makes it a tag: steno.open(run.dir).info.tags has it",
    "log_code": "run.json has the commit; " + _ARTIFACT,
    "log_figure": "run.log({key: steno.Figure(figure)})",
    "log_image": "run.log({key: steno.Image(array)})",
    "log_metric": _LOG,
    "log_metrics": _LOG,
    "log_model": _ARTIFACT,
    "log_param": _CONFIG,
    "log_params": _CONFIG,
    "log_table": "run.log({key: steno.Table(frame)})",
    "mark_preempting": "a run that is begun again under its name goes on as its next attempt; nothing is marked before",
    "log_text": "run.log({key: text})",
    "notes": _EDIT,
    "offline": _SERVER,
    "path": "run.dir is its directory, f'{run.project}/{run.name}' what commands understand",
    "restore": _READ,
    "resumed": "run.attempt > 1 says so",
    "save": _ARTIFACT,
    "set_tag": _EDIT,
    "set_tags": _EDIT,
    "start_time": "steno.open(run.dir).info.started is it",
    "sweep_id": _LOOP,
    "tags": _EDIT,
    "unwatch": "see run.watch",
    "upsert_artifact": _ARTIFACT,
    "url": _SERVER,
    "use_artifact": _READ,
    "use_model": _READ,
    "watch": "run.log({'grad': {name: p.grad.norm() for name, p in model.named_parameters()}}) records norms, "
    "steno.Histogram(p.grad) a distribution; neither waits for the device",
}
"""What `wandb.Run` has, and MLflow's module for its active run: what to write on a `steno.Run`."""

MODULE: Final = {
    **RUN,
    "MlflowClient": _RUNS,
    "Api": _RUNS,
    "Markdown": "steno.Text(text) is drawn as Markdown",
    "Molecule": "steno.log_artifact(path) keeps its file; steno.Object3D takes points as an array of shape (N, 3)",
    "Plotly": "steno.Figure(figure) takes plotly's figures",
    "active_run": "steno.current() is the current run",
    "agent": _LOOP,
    "autolog": "steno.integrations has loggers and callbacks of frameworks",
    "create_experiment": _INIT,
    "end_run": "steno.finish() ends the current run",
    "get_run": _RUNS,
    "log_artifacts": "steno.log_artifact(directory) keeps a directory",
    "log_dict": _LOG,
    "log_input": "run.config has what a run was made from",
    "login": _SERVER,
    "plot": "log the numbers: steno.Table(…), steno.Histogram(…), or any chart as steno.Figure(figure)",
    "plot_table": "run.log({key: steno.Table(frame)})",
    "register_model": "steno has no model registry: steno.link_artifact(name, alias) names an artifact of a run",
    "run": "steno.current() is the current run",
    "search_runs": _RUNS,
    "set_experiment": _INIT,
    "set_tracking_uri": _SERVER,
    "start_run": _INIT,
    "sweep": _LOOP,
}
"""The same of the modules `wandb` and `mlflow`."""

CONFIG: Final = {
    "as_dict": "dict(run.config) is a copy",
    "setdefaults": "run.config.setdefault(key, value) sets one",
}
"""The same of `wandb.config`."""

INIT: Final = {
    "config_exclude_keys": "leave them out of config=",
    "config_include_keys": "leave the others out of config=",
    "fork_from": "steno.init(name=…, rewind=step) goes on with the same run from a step",
    "monitor_gym": "run.log({key: steno.Video(frames)}) records a video",
    "resume_from": "steno.init(name=…, rewind=step) goes on with the same run from a step",
    "sync_tensorboard": "steno.SummaryWriter takes the writer's calls, and 'steno import LOGDIR' event files",
    "tensorboard": "destinations=['tensorboard'] writes event files",
}
"""Arguments of `wandb.init` that would change what is recorded."""

ARTIFACT: Final = {
    "type": "metadata={'type': …} keeps it",
    "aliases": "link=… is one alias, steno.link_artifact(name, alias) another",
    "description": "metadata={'description': …} keeps it",
    "artifact_path": "name='directory/file' says where it is kept",
}
"""Arguments of `log_artifact` elsewhere."""

COMMANDS: Final = {
    "agent": _LOOP,
    "artifact": "'steno get RUN NAME --to PATH' copies an artifact, 'steno show RUN' lists them",
    "artifacts": "'steno get RUN NAME --to PATH' copies an artifact, 'steno show RUN' lists them",
    "board": "'steno view' shows the runs in a browser",
    "dashboard": "'steno view' shows the runs in a browser",
    "delete": "'steno rm RUN' removes a run",
    "download": "'steno get RUN NAME --to PATH' copies an artifact",
    "diff": "'steno compare RUN RUN' shows what differs",
    "experiments": "'steno runs' lists the runs",
    "follow": "'steno tail RUN' prints the records, and each new one",
    "gc": "'steno rm RUN' removes a run; nothing else is collected",
    "info": "'steno show RUN' shows a run",
    "init": "there is nothing to set up: steno.init(project=…) in the program begins a run",
    "list": "'steno runs' lists the runs",
    "local": _SERVER,
    "log": "'steno tail RUN' prints the records, 'steno show RUN' the values",
    "login": _SERVER,
    "logs": "'steno tail RUN' prints the records, 'steno show RUN' the values",
    "ls": "'steno runs' lists the runs",
    "offline": _SERVER,
    "online": "'steno sync RUN --to NAME' sends a run to a destination",
    "open": "'steno view' shows the runs in a browser, 'steno show RUN' one in the terminal",
    "ps": "'steno runs' lists the runs and their states",
    "pull": "'steno get RUN NAME --to PATH' copies an artifact",
    "query": "'steno sql QUERY' asks the runs",
    "remove": "'steno rm RUN' removes a run",
    "server": "'steno view' shows the runs in a browser",
    "serve": "'steno view' shows the runs in a browser",
    "status": "'steno runs' lists the runs and their states, 'steno doctor RUN' looks for what is wrong",
    "sweep": _LOOP,
    "tags": "'steno tag RUN TAG' adds a tag",
    "ui": "'steno view' shows the runs in a browser",
    "upload": "'steno sync RUN --to NAME' sends a run to a destination",
    "version": "'steno --version' prints it",
    "watch": "'steno tail RUN' prints the records, and each new one",
    "web": "'steno view' shows the runs in a browser",
}
"""Commands of `wandb`, `mlflow`, `tensorboard`, `git` and shells: which of ours does the same."""

_CAPTION: Final = "log it together with its caption: run.log({key: value, 'caption': steno.Text(…)})"

MEDIA: Final = {
    "Audio": {"data_or_path": "data=… takes an array or a path"},
    "Figure": {"val": "figure=… takes a matplotlib or plotly figure", "data_or_path": "steno.Image takes a path"},
    "Histogram": {
        "sequence": "data=… takes the numbers",
        "np_histogram": "counts=… and edges=… take what numpy.histogram returned",
        "num_bins": "bins=… takes their number",
    },
    "Html": {
        "inject": "the page is kept as it is",
        "data_is_not_path": "a str is the page itself, a pathlib.Path its file",
    },
    "Image": {
        "data_or_path": "data=… takes an array, a PIL image, a figure or a path",
        "mode": "PIL's Image.convert(mode) changes the mode before",
        "grouping": "log a list of images under one key",
        "classes": "masks={name: {'data': array, 'classes': {number: name}}} has them",
        "file_type": "an array is kept as PNG; the path of a file in another format is kept as it is",
        "normalize": "floats in [0, 1] and integers in 0..255 are taken as they are",
    },
    "Object3D": {
        "data_or_path": "vertices=… takes an array of shape (N, 3); steno.log_artifact(path) keeps a file",
    },
    "Table": {
        "dataframe": "data=… takes a frame",
        "rows": "data=… takes rows, with columns=…",
        "dtype": "types are those of the data",
        "optional": "every column may hold None",
        "allow_mixed_types": "a column of several types is kept as text",
        "log_mode": "each call of run.log records the whole table",
    },
    "Text": {"data": "text=… takes the text", "caption": _CAPTION},
    "Video": {"data_or_path": "data=… takes an array or a path"},
}
"""Arguments of W&B's media classes, by the class here."""


def missing(what: str, name: str, words: dict[str, str]) -> str:
    """That `what` has no `name`, and what to write in its place, where that is known."""
    text = f"{what} has no attribute {name!r}"
    return f"{text}: {words[name]}" if name in words else text


def rename(_run: Any, _name: str) -> NoReturn:
    """The setter of a run's name, which says what renames it."""
    raise AttributeError("the name of a steno.Run is not set: steno.open(run.dir).edit(name=…) changes what is shown")


class Absent:
    """An attribute that is not there, and says what is. Found on the class, so that no other attribute gets slower."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, run: Any, owner: type | None = None) -> NoReturn:
        raise AttributeError(missing("a steno.Run", self._name, RUN))

    def __set__(self, run: Any, value: Any) -> NoReturn:
        raise AttributeError(missing("a steno.Run", self._name, RUN))
