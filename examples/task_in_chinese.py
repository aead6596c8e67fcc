"""A task in Chinese, answered in Chinese. Run it: python examples/task_in_chinese.py [MODEL]"""

import sys
from pathlib import Path

from agent import Agent

SCORES = Path(__file__).parent / "data" / "成绩.csv"


def main(model: str | None = None) -> None:
    with Agent(model) as agent:
        result = agent.run("成绩.csv 里每个班的数学平均分是多少？保留一位小数。", files=[SCORES])
    print(result.answer.strip())


if __name__ == "__main__":
    main(*sys.argv[1:2])
