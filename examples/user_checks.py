"""Say what must hold: solved means that your checks pass. Run it: python examples/user_checks.py [MODEL]"""

import sys

from agent import Agent, Budget

TASK = "Write a function `slug(title)` that turns a title into lower-case words joined by hyphens, without punctuation."
CHECKS = [
    "slug('Hello, World!') == 'hello-world'",
    "slug('  Two   spaces ') == 'two-spaces'",
    "slug('a_b') in ('a-b', 'ab', 'a_b')",
]


def main(model: str | None = None) -> None:
    with Agent(model, budget=Budget(drafts=8)) as agent:
        result = agent.run(TASK, checks=CHECKS)
    for check in result.verdict.results if result.verdict else ():
        print("ok  " if check.passed else "FAIL", check.check.text, check.detail)
    print(result.outcome)
    print(result.program.code if result.program else result.reason)


if __name__ == "__main__":
    main(*sys.argv[1:2])
