"""Ask a question about a CSV file. Run it: python examples/question_over_csv.py [MODEL]"""

import sys
from pathlib import Path

from agent import Agent

SALES = Path(__file__).parent / "data" / "sales.csv"
QUESTION = "What is the total revenue (units times unit_price), rounded to two decimals?"


def main(model: str | None = None) -> None:
    with Agent(model) as agent:
        result = agent.run(QUESTION, files=[SALES])
    print(result.answer.strip())
    print(f"({result.outcome}, {result.drafts} drafts, {result.seconds:.0f} s)")


if __name__ == "__main__":
    main(*sys.argv[1:2])
