"""What one does with paths."""

from pathlib import Path

here = Path.cwd()
made = here / "out" / "deep"
made.mkdir(parents=True)
note = made / "note.txt"
note.write_text("one\ntwo\n", encoding="utf-8")
note.touch()
note.chmod(0o600)
print(note.stat().st_size, oct(note.stat().st_mode & 0o777), note.relative_to(here), note.with_suffix(".md").name)
print(sorted(str(p.relative_to(here)) for p in here.rglob("*.csv")))
print(sorted(p.name for p in here.iterdir() if p.is_dir()), Path("sales.csv").resolve() == here / "sales.csv")
print(Path("sales.csv").exists(), Path("a/../b").parts, Path("x.tar.gz").suffixes, note.samefile("out/deep/note.txt"))
with note.open("a") as f:
    f.write("three\n")
print(note.read_text().splitlines(), Path("~").expanduser().is_absolute())
note.unlink()
made.rmdir()
note.unlink(missing_ok=True)
made.parent.rmdir()

# Prints:
# 8 0o600 out/deep/note.txt note.md
# ['orders/feb.csv', 'orders/jan.csv', 'orders/mar.csv', 'sales.csv']
# ['orders', 'out', 'photos'] True
# True ('a', '..', 'b') ['.tar', '.gz'] True
# ['one', 'two', 'three'] True
