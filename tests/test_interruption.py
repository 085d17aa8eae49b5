"""A signal ends a program once and for certain, wherever it comes, and lets it tidy up."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tumortrace import interruption

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture
def handlers() -> Iterator[None]:
    """The handlers of signals and of swallowed exceptions, put back in the end."""
    before = {number: signal.getsignal(number) for number in (*interruption.ENDINGS, signal.SIGALRM)}
    hook = sys.unraisablehook
    yield
    sys.unraisablehook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


@POSIX
@pytest.mark.usefixtures("handlers")
def test_nohup_stays_deaf_and_other_threads_change_nothing():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    thread = threading.Thread(target=interruption.interrupt_on_signals)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    interrupter = interruption.interrupt_on_signals()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    interrupter.over = True


@POSIX
@pytest.mark.usefixtures("handlers")
def test_an_interruption_that_was_swallowed_comes_again_and_one_under_way_does_not(monkeypatch: pytest.MonkeyPatch):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    interrupter = interruption.interrupt_on_signals()
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt) as caught:
        time.sleep(10)
    signal.raise_signal(signal.SIGTERM)  # while the first one is still held
    time.sleep(3 * interruption.REPEAT_SECONDS)
    monkeypatch.setattr(interruption, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)  # somebody insists
    interrupter.over = True
    del caught
    time.sleep(3 * interruption.REPEAT_SECONDS)
    signal.raise_signal(signal.SIGTERM)  # the program is over


SWALLOWING = {
    "weak reference": """
class Thing: pass
thing = Thing()
reference = weakref.ref(thing, lambda _: send())
del thing
""",
    "finaliser": """
class Thing:
    def __del__(self): send()
Thing()
""",
    "bare except": """
try:
    send()
except:
    pass
""",
    "thrice": """
class Thing:
    def __del__(self): send()
Thing()
time.sleep(0.01)
for _ in range(2):
    try:
        while True: time.sleep(0.01)
    except BaseException:
        pass
""",
}


@POSIX
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("where", SWALLOWING)
def test_a_kill_is_never_lost(name: str, where: str, tmp_path: Path):
    """Python prints and forgets what is raised in these places, and went on as if nobody had asked."""
    program = (
        "import os, signal, time, weakref\n"
        f"signal.signal(signal.{name}, signal.SIG_DFL)\n"  # the suite may run under nohup
        "from tumortrace.cli import run_script\n"
        f"def send(): signal.raise_signal(signal.{name})\n"
        f"def main() -> None:\n    exec({SWALLOWING[where]!r}, globals())\n"
        "    print('went on', flush=True)\n    time.sleep(60)\n    print('not ended', flush=True)\n"
        "run_script(main)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 130
    assert done.stdout in {"went on\n", ""}
    assert done.stderr.strip().splitlines() == ["interrupted; finished files, if any, are kept"]


@POSIX
@pytest.mark.usefixtures("hear_ctrl_c")
def test_ctrl_c_during_the_imports_leaves_no_traceback(tmp_path: Path):
    (tmp_path / "typer.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n", encoding="utf-8")
    command = [sys.executable, "-m", "tumortrace", "info"]  # the folder that it is started in comes first
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@POSIX
@pytest.mark.usefixtures("hear_ctrl_c")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interruption_before_the_command_has_begun_is_one_line(name: str, tmp_path: Path):
    program = (
        "import signal\nfrom tumortrace import cli\n"
        f"cli.refuse_empty = lambda _words: signal.raise_signal(signal.{name})\ncli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stderr) == (130, "interrupted; finished files, if any, are kept\n")


@POSIX
def test_a_second_kill_does_not_stop_the_tidying_up(tmp_path: Path):
    program = (
        "import os, signal, time\nfrom tumortrace.cli import run_script\n"
        "def main() -> None:\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGTERM)\n        time.sleep(60)\n"
        "    finally:\n        for _ in range(5):\n            os.kill(os.getpid(), signal.SIGTERM)\n"
        "            time.sleep(0.1)\n        print('tidied up', flush=True)\n"
        "run_script(main)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout) == (130, "tidied up\n")
    assert done.stderr.strip().splitlines() == ["interrupted; finished files, if any, are kept"]


@POSIX
def test_a_thread_that_never_ends_keeps_no_program_whose_output_is_closed():
    program = (
        "import threading, time\nfrom tumortrace.interruption import exit_program\n"
        "threading.Thread(target=time.sleep, args=(20,)).start()\nexit_program(7)"
    )
    command = f'exec "{sys.executable}" -c "{program}" >&-'
    done = subprocess.run(["/bin/sh", "-c", command], stderr=subprocess.PIPE, timeout=15, check=False)
    assert (done.returncode, done.stderr) == (7, b"")
