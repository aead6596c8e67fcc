"""Arguments, configuration files and templates."""

import argparse
import configparser
import shlex
import string
import sys
import textwrap
import tomllib

parser = argparse.ArgumentParser(prog="tool", description="does things")
parser.add_argument("files", nargs="*")
parser.add_argument("-n", "--number", type=int, default=3, choices=range(10))
parser.add_argument("--dry-run", action="store_true")
print(parser.parse_args(), parser.parse_args(shlex.split("-n 5 'a b.txt' --dry-run")), sys.argv[1:])
config = configparser.ConfigParser()
config.read("app.ini")
config["server"]["port"] = str(config.getint("server", "port") + 1)
with open("app.ini", "w") as f:
    config.write(f)
print(config.sections(), dict(config["server"]))
print(tomllib.load(open("app.toml", "rb")))
print(string.Template("Dear $name, you owe $$${sum}").substitute(name="Ada", sum=5), f"{'x':-^5}", "%05.1f" % 3.14159)
print(textwrap.fill("the quick brown fox jumps", 12), textwrap.shorten("hello wide world", 12, placeholder="..."))

# Prints:
# Namespace(files=[], number=3, dry_run=False) Namespace(files=['a b.txt'], number=5, dry_run=True) []
# ['server', 'mail'] {'host': 'localhost', 'port': '8081'}
# {'title': 'demo', 'limits': {'items': 3, 'ratio': 0.5}}
# Dear Ada, you owe $5 --x-- 003.1
# the quick
# brown fox
# jumps hello...
# Leaves:
# modified app.ini
