"""A table, a progress bar and coloured text, for a screen that is none."""

import sys

from rich.console import Console
from rich.progress import track
from rich.table import Table

console = Console(file=sys.stdout, width=40)
table = Table("region", "units", title="Sales")
for row in (("North", "9"), ("West", "7")):
    table.add_row(*row)
console.print(table)
console.print("[bold red]done[/] :tada:", highlight=False)
print(sum(track(range(5), console=Console(file=open("/dev/null", "w")))))

# Prints:
#       Sales
# ┏━━━━━━━━┳━━━━━━━┓
# ┃ region ┃ units ┃
# ┡━━━━━━━━╇━━━━━━━┩
# │ North  │ 9     │
# │ West   │ 7     │
# └────────┴───────┘
# done 🎉
# 10
