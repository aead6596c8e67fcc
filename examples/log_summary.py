"""Summarise a log, watching the events as they come. Run it: python examples/log_summary.py [MODEL]"""

import sys
from pathlib import Path

from agent import Agent
from agent.events import Drafted, Executed, Finished, Judged

LOG = Path(__file__).parent / "data" / "server.log"
TASK = "How many lines of each level (INFO, WARNING, ERROR) are in server.log?"


def main(model: str | None = None) -> None:
    with Agent(model) as agent:
        for event in agent.stream(TASK, files=[LOG]):
            match event:
                case Drafted(program=program) if program is not None:
                    print(f"{event.at:5.1f} s  a draft of {len(program.code.splitlines())} lines")
                case Executed(execution=execution):
                    print(f"{event.at:5.1f} s  ran: {execution.status} in {execution.seconds:.2f} s")
                case Judged(verdict=verdict, decision=decision):
                    print(f"{event.at:5.1f} s  {verdict.outcome}, so: {decision}")
                case Finished(result=result):
                    print(result.answer.strip())
                case _:
                    pass


if __name__ == "__main__":
    main(*sys.argv[1:2])
