"""Training one network: data, loop, checkpoints, export.

Importing this room limits how long OpenMP threads wait awake, which works only before torch is imported.
"""

from tumortrace.machine import limit_spinning

limit_spinning()
