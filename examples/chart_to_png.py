"""Draw a chart into a PNG file. Run it: python examples/chart_to_png.py [MODEL]"""

import sys
import tempfile
from pathlib import Path

from agent import Agent

TEMPERATURES = Path(__file__).parent / "data" / "temperatures.csv"


def main(model: str | None = None) -> None:
    folder = Path(tempfile.mkdtemp())
    with Agent(model) as agent:
        result = agent.run(
            "Draw the low and high temperatures by day as a line chart and save it as chart.png",
            files=[TEMPERATURES],
            folder=folder,
        )
    result.raise_for_failure()
    assert result.changes is not None
    result.changes.apply()
    print(f"{folder / 'chart.png'}: {(folder / 'chart.png').stat().st_size} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:2])
