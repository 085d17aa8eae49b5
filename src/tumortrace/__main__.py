"""``python -m tumortrace`` is the command ``tumortrace``."""

from tumortrace.cli import main

main()
