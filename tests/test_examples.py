"""The examples for SLURM and KubeRay: linted, their commands known, their scripts run with SLURM's variables."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer.main
import yaml

from tumortrace.cli import app

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(EXAMPLES.rglob("*.sh"))
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined] # a group has commands


def write_stub(folder: Path, name: str, code: str) -> None:
    """Put a program of this name into a folder; scontrol and srun are not here."""
    path = folder / name
    path.write_text(f"#!/bin/bash\n{code}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def run_script(tmp_path: Path):
    """Run an example with variables of SLURM, its tools replaced by those in ``tmp_path``; return the process."""
    tools = tmp_path / "tools"
    tools.mkdir()
    write_stub(tools, "tumortrace", f'exec {shlex.quote(sys.executable)} -m tumortrace "$@"')

    def run(name: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"} | variables
        command = ["bash", str(EXAMPLES / "slurm" / name)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)

    return run


def test_the_examples_are_here():
    assert [path.name for path in SCRIPTS] == ["segment_array.sh", "train_two_nodes.sh"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_bash_and_shellcheck_find_nothing(path: Path):
    subprocess.run(["bash", "-n", str(path)], check=True)
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([shellcheck, "--norc", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", [*SCRIPTS, EXAMPLES / "kuberay" / "rayjob.yaml"], ids=lambda path: path.name)
def test_commands_and_options_exist(path: Path):
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"^[^#]*\btumortrace (segment|train) (.*)$", text, flags=re.MULTILINE)
    assert found
    for command, words in found:
        options = {option for parameter in COMMANDS[command].params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", words)) <= options


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_what_slurm_reads_stands_before_the_first_command(path: Path):
    lines = path.read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    wanted = [number for number, line in enumerate(lines) if line.startswith("#SBATCH ")]
    assert wanted
    assert max(wanted) < first
    assert all(re.fullmatch(r"#SBATCH --[a-z-]+(=\S+)?", lines[number]) for number in wanted)


@pytest.mark.parametrize("name", ["segment_array.sh", "train_two_nodes.sh"])
def test_a_variable_that_is_not_set_is_named(name: str, run_script):
    done = run_script(name, SLURM_ARRAY_TASK_ID="1", SLURM_ARRAY_TASK_MAX="2")
    assert done.returncode == 1
    assert re.search(r"(SCANS|DATA): set it to", done.stderr)


def test_an_array_of_two_tasks_segments_everything(phantom_data: Path, tiny_run: Path, tmp_path: Path, run_script):
    scans, masks = tmp_path / "scans", tmp_path / "masks"
    scans.mkdir()
    for picture in sorted((phantom_data / "TEST").glob("*.jpg"))[:3]:
        shutil.copy(picture, scans)
    write_stub(
        tmp_path / "tools", "tumortrace", f'exec {sys.executable} -m tumortrace "$@" --model {tiny_run} --no-gate'
    )
    for task in ("1", "2"):
        variables = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_MAX": "2"}
        done = run_script("segment_array.sh", SCANS=str(scans), MASKS=str(masks), **variables)
        assert done.returncode == 0, done.stderr
    assert len(list(masks.glob("*_mask.png"))) == 3
    assert (masks / "results.json").is_file()


def test_two_nodes_are_started_as_torchrun_expects(tmp_path: Path, run_script):
    tools, run = tmp_path / "tools", tmp_path / "run"
    write_stub(tools, "scontrol", 'test "$1 $2 $3" = "show hostnames node[1-2]" && printf "node1\\nnode2\\n"')
    write_stub(tools, "srun", 'printf "%s\\n" "$@"')
    variables = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2", "SLURM_JOB_ID": "77"}
    done = run_script("train_two_nodes.sh", DATA="/br35h", RUN=str(run), PROCESSES="1", **variables)
    launcher, _, command = done.stdout.partition("-m\n")
    assert done.returncode == 0, done.stderr
    expected = "torchrun --nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-id 77 --rdzv-endpoint node1:29500"
    assert launcher.split() == expected.split()
    assert command.split() == ["tumortrace", "train", "/br35h", "--out", str(run), "--config", "default"]
    (run / "last").mkdir(parents=True)
    (run / "last" / "checkpoint.safetensors").touch()
    done = run_script("train_two_nodes.sh", DATA="/br35h", RUN=str(run), **variables)
    assert done.stdout.split()[-3:] == ["--out", str(run), "--resume"]


def test_torchrun_trains_in_two_processes(phantom_data: Path, tiny_run: Path, tmp_path: Path, run_script):
    # The script as it is, on one node: scontrol and srun are the only stand-ins.
    write_stub(tmp_path / "tools", "scontrol", "echo localhost")
    write_stub(tmp_path / "tools", "srun", 'exec "$@"')
    write_stub(tmp_path / "tools", "torchrun", f'exec {sys.executable} -m torch.distributed.run "$@"')
    variables = {"SLURM_JOB_NODELIST": "node1", "SLURM_NNODES": "1", "SLURM_JOB_ID": "78", "PORT": "0"}
    variables |= {"CONFIG": str(tiny_run / "config.toml"), "GLOO_SOCKET_IFNAME": "lo", "PROCESSES": "2"}
    done = run_script("train_two_nodes.sh", DATA=str(phantom_data), RUN=str(tmp_path / "run"), **variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Trained on 10 slices") == 1, "one of the two prints"
    assert "in each of 2 processes" in done.stderr
    one, two = ((run / "metrics.csv").read_text(encoding="utf-8").splitlines() for run in (tiny_run, tmp_path / "run"))
    assert len(one) == len(two) == 3
    for row, other in zip(one[1:], two[1:], strict=True):
        losses, others = ([float(cell) for cell in line.split(",")[1:4]] for line in (row, other))
        assert losses == pytest.approx(others, abs=1e-4)
    assert (tmp_path / "run" / "model.onnx").is_file()


def test_the_rayjob_says_what_kuberay_and_tumortrace_need():
    (job,) = yaml.safe_load_all((EXAMPLES / "kuberay" / "rayjob.yaml").read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == version("ray")
    assert yaml.safe_load(job["spec"]["runtimeEnvYAML"])["env_vars"]["RAY_USAGE_STATS_ENABLED"] == "0"
    words = shlex.split(job["spec"]["entrypoint"])
    templates = [cluster["headGroupSpec"]["template"], *(group["template"] for group in cluster["workerGroupSpecs"])]
    assert len(templates) == 2
    for template in templates:
        (container,) = template["spec"]["containers"]
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {words[2], words[words.index("--out") + 1]} <= mounts, "every pod sees the scans and the masks"
        claims = {volume["name"] for volume in template["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == claims
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert container["securityContext"]["runAsNonRoot"] is True
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]
