"""``python -m tumortrace`` is the command ``tumortrace``."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line; a Ctrl-C while its modules are imported ends it without a traceback."""
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # it is ignored in a job in the background
    if usual:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tumortrace.cli import main as run  # noqa: PLC0415 - it takes half a second

    if usual:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
