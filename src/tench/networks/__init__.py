"""Networks as tables: kinds of rows (`layers`), the notation (`table`), published counts against counted ones (`audit`),
modules (`build`) and their weights (`pretrained`).

Importing this package does not import torch; `build`, `pretrained` and `reference` do.
"""

from tench.networks.facts import LayerFacts
from tench.networks.table import Table, builtin_table, builtin_tables, load_table, parse, write

__all__ = ["LayerFacts", "Table", "builtin_table", "builtin_tables", "load_table", "parse", "write"]
