"""The sandbox without a model: limits, state, going back, reviewed effects. Run it: python examples/sandbox_alone.py"""

import tempfile
from pathlib import Path

from sandbox import Policy, open_session


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    (folder / "sales.csv").write_text("region,units\nNorth,3\nSouth,5\n")
    with open_session("jail", workspace=folder, policy=Policy(wall_seconds=2)) as session:
        run = session.execute("import csv; rows = list(csv.DictReader(open('sales.csv'))); len(rows)")
        print(run.status, run.value)

        run = session.execute("import os; os.remove('sales.csv'); rows = None; 1 / 0")
        print(run.status, run.error.type if run.error else "")
        print("still there:", session.execute("import os; (len(rows), os.path.exists('sales.csv'))").value)

        run = session.execute("while True: pass")
        print(run.status, f"after {run.seconds:.0f} s; the session lives:", session.execute("len(rows)").value)

        run = session.execute("import socket; socket.create_connection(('127.0.0.1', 443))")
        print(run.status, run.error.type if run.error else "")

        session.execute("open('report.txt', 'w').write(f'{len(rows)} rows\\n')")
        changes = session.changes()
        print("\n".join(changes.summary()), "| in the folder yet:", (folder / "report.txt").exists())
        changes.apply()
        print("applied:", (folder / "report.txt").read_text().strip())


if __name__ == "__main__":
    main()
