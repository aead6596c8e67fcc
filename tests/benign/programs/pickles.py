"""Keep objects between runs."""

import copy
import dbm
import pickle
import shelve
from dataclasses import dataclass, field


@dataclass
class Account:
    owner: str
    entries: list = field(default_factory=list)


accounts = [Account("Ada", [10, -3]), Account("Grace")]
with open("accounts.pickle", "wb") as f:
    pickle.dump(accounts, f)
with open("accounts.pickle", "rb") as f:
    print(pickle.load(f) == accounts, copy.deepcopy(accounts) == accounts)
with shelve.open("/tmp/kept") as shelf:
    shelf["ada"] = accounts[0]
with shelve.open("/tmp/kept") as shelf:
    print(shelf["ada"].entries, list(shelf))
with dbm.open("/tmp/table", "n") as table:
    table["key"] = "value"
    print(table["key"])

# Prints:
# True True
# [10, -3] ['ada']
# b'value'
# Leaves:
# created accounts.pickle
