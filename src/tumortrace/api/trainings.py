"""Functions for programs: train one model or many, on this machine or a cluster.

Heavy libraries are imported by the function that needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from tumortrace.api.answers import EvaluationResult, ImproveResult
from tumortrace.api.arguments import Data, FilePath, check_output, divide, list_folders, open_data, read_settings
from tumortrace.choices import By
from tumortrace.config import Config, with_label
from tumortrace.data.dataset import check_roots
from tumortrace.data.dataset import exclude as exclude_cases
from tumortrace.errors import ConfigError, require_extra

if TYPE_CHECKING:
    from tumortrace.evaluation.leaderboard import Run
    from tumortrace.training.run import RunResult
    from tumortrace.trials.jobs import Pool
    from tumortrace.trials.sweep import SweepResult

_ONE_PROCESS = "network.decoder = 'prompted' is trained by one process; omit --devices, --nodes or torchrun"


def train(  # noqa: PLR0913 - the settings of a training
    data: Data,
    *,
    out: FilePath,
    config: Config | str | None = None,
    overrides: Iterable[str] = (),
    split: FilePath | None = None,
    fold: int | None = None,
    exclude: FilePath | None = None,
    negatives: FilePath | None = None,
    label: str | None = None,
    start_from: str | None = None,
    resume: bool = False,
) -> RunResult:
    """Train a segmenter on the TRAIN part, measure each epoch on VAL, and fill a run folder.

    Args:
        data: Training data.
        out: The run folder.
        config: A configuration, the name of a shipped one or a TOML file; None takes ``default``.
        overrides: Single settings, each ``"section.key=value"``.
        split: File that ``split`` wrote; its sides replace the parts of the dataset.
        fold: Number of the fold that is held out from training.
        exclude: Text file of image names to leave out, one a line.
        negatives: Folder of images known to hold no tumour.
        label: Label of the regions that are tumour; None takes all regions.
        start_from: Model whose weights training starts from; a run folder for a prompted one.
        resume: Continue the run in ``out`` with its own settings; ``overrides`` may change device and threads.

    Where torchrun started this process as one of several, all of them train one network together.

    Raises:
        ConfigError: Settings that contradict each other, or a run folder that is in use or has nothing to resume.
        DataError: The data cannot be used, or ``out`` lies inside it.
        TumortraceError: Training is not installed, diverged, or ran out of memory.
    """
    require_extra("train", purpose="train")
    from tumortrace.inference.model import open_model
    from tumortrace.processes import find_place
    from tumortrace.run_folder import check_run_folder, resumed_settings

    place = find_place()
    run = check_output(out, data, negatives) or Path()
    if resume and config is not None:
        raise ConfigError("--resume takes its settings from the run's config.toml; omit --config")
    if resume and start_from:
        raise ConfigError("--resume continues from the run's own weights; omit --from")
    check_run_folder(run, resume=resume)
    settings = resumed_settings(run, overrides) if resume else read_settings(config, overrides)
    settings = with_label(settings, label)
    opened = open_data(data, negatives, settings.training.label or None)
    dataset = divide(opened, split, fold, selecting=settings.training.keep != "last")
    if split is not None:
        from tumortrace.copies.split_files import check_files

        check_files([record for record in dataset.records if record.part == "test"])  # training reads the others
    if exclude is not None:
        dataset = exclude_cases(dataset, Path(exclude))
    if settings.network.decoder == "prompted":
        if place is not None:
            raise ConfigError(_ONE_PROCESS)
        from tumortrace.training.prompted_run import train_prompted

        return train_prompted(dataset, settings, out=run, start_from=start_from, resume=resume)
    model = open_model(start_from) if start_from else None
    from tumortrace.training.run import train as train_run  # torch takes seconds: mistakes above are reported first

    return train_run(dataset, settings, out=run, start_from=model, resume=resume, place=place)


def crossval(  # noqa: PLR0913 - the settings of a cross-validation
    data: Data,
    *,
    out: FilePath,
    config: Config | str | None = None,
    overrides: Iterable[str] = (),
    folds: int | None = None,
    by: By = "groups",
    negatives: FilePath | None = None,
    label: str | None = None,
    ray: str | None = None,
) -> EvaluationResult:
    """Train and score every fold, so that each case is scored by a model that was trained on no copy of it.

    A second call with the same settings continues where the first one stopped. A TEST part is never opened.

    Args:
        data: Data to train on and to score.
        out: Folder for the folds' runs and the scores.
        config: Configuration, the name of a shipped one or a TOML file; None takes ``default``.
        overrides: Single settings, each ``"section.key=value"``.
        folds: Number of folds; None takes 5, or one a dataset if ``by`` is ``"source"``.
        by: ``"groups"`` keeps copies and patients together; ``"source"`` holds out one dataset after the other.
        negatives: Folder of images known to hold no tumour.
        label: Label of the regions that are tumour; None takes all regions.
        ray: Address of a Ray cluster that trains the folds (``"auto"`` or ``HOST:PORT``); None trains them here.

    Raises:
        ConfigError: ``out`` holds a cross-validation under other settings, or ``folds`` is given although ``by`` is
            ``"source"``.
        DataError: Too few different slices, or the data changed since the folds were made.
        TumortraceError: The cluster cannot be used.
    """
    require_extra("train", purpose="train")
    require_extra("report", purpose="draw an evaluation's figures")
    from tumortrace.evaluation.folder import write_evaluation
    from tumortrace.reporting.cases import CasePictures

    if by == "source" and folds is not None:
        raise ConfigError(f"--folds {folds}: --by source makes each dataset a fold; omit one of them")
    folder = check_output(out, data, negatives) or Path()
    settings = with_label(read_settings(config, overrides), label)
    _check_ray(ray)
    dataset = open_data(data, negatives, settings.training.label or None)
    from tumortrace.trials.crossval import cross_validate

    pictures = CasePictures(folder)
    count = 5 if folds is None else folds
    with _open_pool(ray, [settings], folder) as pool:
        fitted, rows = cross_validate(
            dataset, settings, folds=count, by=by, out=folder, on_case=pictures.add, pool=pool
        )
    evaluation = fitted.evaluation
    pictures.write()
    summary = write_evaluation(evaluation, folder, folds=rows)  # last: it says that the evaluation is finished
    return EvaluationResult(evaluation, summary, evaluation.findings)


def sweep(  # noqa: PLR0913 - the settings of a sweep
    data: Data,
    *,
    out: FilePath,
    config: str = "sweep",
    negatives: FilePath | None = None,
    label: str | None = None,
    watch: Callable[[Sequence[Run], int, str], None] = lambda _runs, _total, _doing: None,
    ray: str | None = None,
) -> SweepResult:
    """Search for settings on folds of TRAIN and VAL; a second call continues where the first one stopped.

    Args:
        data: Training data; the pictures of a TEST part are never opened.
        out: Folder for the runs and the leaderboard.
        config: The shipped sweep, or a TOML file that says what is searched.
        negatives: Folder of images known to hold no tumour.
        label: Label of the regions that are tumour; None takes all regions.
        watch: Function that is given the finished runs, the number of all runs, and what is being done.
        ray: Address of a Ray cluster that trains (``"auto"`` or ``HOST:PORT``); None trains here.

    Raises:
        ConfigError: The file is no sweep, or ``out`` holds another one.
        DataError: Too few different slices, or a fold without a tumour.
        TumortraceError: The cluster cannot be used.
    """
    require_extra("train", purpose="train")
    from tumortrace.trials.sweep_space import plan_sweep, read_sweep

    text = read_sweep(config)
    plan = plan_sweep(text, config, label=label)
    folder = check_output(out, data, negatives) or Path()
    _check_ray(ray)
    dataset = open_data(data, negatives, plan.label or None)
    from tumortrace.trials.sweep import run_sweep  # torch takes seconds: mistakes above are reported first

    with _open_pool(ray, [setting.config for setting in plan.settings], folder) as pool:
        return run_sweep(dataset, plan, text=text, out=folder, watch=watch, pool=pool)


def _check_ray(address: str | None) -> None:
    """Refuse an address that is none, or one without ray to go there."""
    if address is not None:
        require_extra("cluster", purpose="run on a Ray cluster")
        from tumortrace.cluster.connect import check_address

        check_address(address)


def _open_pool(address: str | None, configs: Sequence[Config], out: Path) -> AbstractContextManager[Pool | None]:
    """Open the place where trainings run: a cluster, or None for here."""
    if address is None:
        return nullcontext()
    from tumortrace.cluster.tasks import open_pool
    from tumortrace.trials.jobs import run_job_on_worker

    trainings = [config.training for config in configs]
    threads = max(training.threads for training in trainings)
    gpu = any(training.device != "cpu" for training in trainings)
    return open_pool(address, run_job_on_worker, out=out, threads=threads, gpu=gpu)


def improve(  # noqa: PLR0913 - the settings of an improvement
    corrected: Data,
    *,
    out: FilePath,
    start_from: str | None = None,
    replay: Data | None = None,
    standard: Data | None = None,
    overrides: Iterable[str] = (),
    label: str | None = None,
    resume: bool = False,
) -> ImproveResult:
    """Train a model further on corrected cases, and find out on held-out ones whether that made it better.

    A part of the corrected cases is held out for good, by groups of copies and patients. If the new model is better on
    it and not worse on the standard set, it becomes the default of the folder that ``out`` lies in.

    Args:
        corrected: Corrected cases, in any layout that ``train`` opens; a TEST part stays closed.
        out: The run folder.
        start_from: Model to train further; None takes the default of the folder, at first the shipped ``default``.
        replay: Old data that is mixed in, so that less is forgotten.
        standard: Data that shows whether anything was forgotten; None takes held-out slices of ``replay``, or generated
            slices.
        overrides: Single settings, each ``"section.key=value"``.
        label: Label of the regions that are tumour; None takes all regions.
        resume: Continue the run in ``out``.

    Raises:
        ConfigError: A run folder that is in use, or a run to resume that began otherwise.
        DataError: Nothing can be held out or trained on, ``out`` lies inside the data, or a folder of ``corrected`` is
            one of ``replay``, or inside one.
        ModelError: The model has no weights that can be trained on.
        TumortraceError: Training is not installed, diverged, or ran out of memory.
    """
    require_extra("train", purpose="train")
    from tumortrace.improvement.models import open_models
    from tumortrace.run_folder import check_run_folder, resumed_settings

    run = Path()
    for data in (corrected, replay, standard):
        run = run if data is None else check_output(out, data) or Path()
    training = [*list_folders(corrected), *([] if replay is None else list_folders(replay))]
    check_roots([Path(folder) for folder in training])  # both train: a slice of both would count twice
    check_run_folder(run, resume=resume)
    models = open_models(start_from, out=run, resume=resume)
    from tumortrace.improvement.improve import improve as improve_run  # torch takes seconds
    from tumortrace.improvement.improve import improvement_document
    from tumortrace.improvement.material import gather
    from tumortrace.improvement.settings import settings_of

    settings = resumed_settings(run, overrides) if resume else settings_of(models.start, overrides)
    settings = with_label(settings, label)
    chosen = settings.training.label or None
    opened = [None if data is None else open_data(data, None, chosen) for data in (replay, standard)]
    material = gather(open_data(corrected, None, chosen), *opened)
    improvement = improve_run(material, models, settings, out=run, resume=resume)
    return ImproveResult(improvement, improvement_document(improvement, models), improvement.findings)
