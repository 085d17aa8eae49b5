"""The functions behind the commands, for programs.

Every check that a command promises is made here or below, so that a program gets the same answers and the same errors.
"""

from tumortrace.api.datasets import audit as audit
from tumortrace.api.datasets import open_dataset as open_dataset
from tumortrace.api.datasets import split as split
from tumortrace.api.scores import compare as compare
from tumortrace.api.scores import evaluate as evaluate
from tumortrace.api.scores import report as report
from tumortrace.api.trainings import crossval as crossval
from tumortrace.api.trainings import improve as improve
from tumortrace.api.trainings import sweep as sweep
from tumortrace.api.trainings import train as train
