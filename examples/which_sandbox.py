"""The three sandboxes and when to choose which; needs no model. Run it: python examples/which_sandbox.py

jail         what you get unasked: full Python in milliseconds, your folder shown without a copy
restricted   a small program that needs no package: what it cannot name it does not do by mistake either
docker       where no jail can be built, or a second wall is worth half a second (first: sandsmith image build)
"""

from sandbox import Policy, SandboxUnavailable, open_session

PROGRAM = "import statistics\nstatistics.median([3, 1, 2])"
ESCAPE = "import os\nos.listdir('/')"


def main() -> None:
    for kind in ("jail", "restricted", "docker"):
        try:
            with open_session(kind, policy=Policy(wall_seconds=10)) as session:
                run, escape = session.execute(PROGRAM), session.execute(ESCAPE)
                print(f"{kind}: {run.value}; tier {run.receipt.tier}, {len(run.receipt.layers)} layers")
                print(f"  listing the root: {escape.value or (escape.error and escape.error.message)}")
        except SandboxUnavailable as error:
            print(f"{kind}: not here: {error} ({error.hint})")


if __name__ == "__main__":
    main()
