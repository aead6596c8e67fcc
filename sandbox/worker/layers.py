"""The file systems of a session: private /proc, /tmp and /dev/shm, and the overlay over the user's folder.

A session begins with one *view*; each branch has another, in a mount namespace of its own. All of them are made in the
namespace of pid 1, below a folder that is covered, and moved from there to where a program finds them. Those that a
session has not changed anything in are left to the next one, since mounting them is a good part of what it costs.
Sources: Linux `Documentation/filesystems/overlayfs.rst`, tmpfs(5), mount_namespaces(7), setns(2).
"""

from __future__ import annotations

import os
import random
import resource
import stat
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from . import kernel, root
from .marks import Marks, Tree, copy_tree
from .still import Still

__all__ = ["Layers", "View"]

_PLAIN = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOATIME  # the next session learns not what was read
_LOCKS, _UNLIMITED = 10, 1 << 62  # RLIMIT_LOCKS


@dataclass(slots=True)
class View:
    """The files of a session, or of one branch of it: the trees that it changes, by name."""

    trees: dict[str, Tree]
    overlay: str
    """The folder that holds the overlay's upper layer, and its work folder beside."""
    namespace: int = -1
    """Descriptor of the mount namespace that it is seen in, -1 for that of pid 1."""
    tag: int = -1
    """What its processes are told by: see `Layers.view_of`."""
    mounted: list[str] = field(default_factory=list[str])

    @property
    def upper(self) -> int:
        """A fresh descriptor of the folder that holds what the program changed."""
        return os.open(self.trees["upper"].path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    @property
    def work(self) -> str:
        """The overlay's own folder."""
        return f"{self.trees['upper'].path}.work"


class Layers:
    """The views of a session, and the marks in them. What covers the layers stays for all sessions."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._size = f"size={config['disk_bytes']},nr_inodes={config['files'] + 16}"
        self._names = [name for name in ("inputs", "folder") if name in config["lowers"]] or ["folder"]
        self._shown = [path for path in config["binds"] if path.startswith("/tmp/")]
        root.mount_proc()
        kernel.mount("vault", root.LAYERS, "tmpfs", _PLAIN, "mode=700,size=64k,nr_inodes=64")
        self._vault = os.open(root.LAYERS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._lower = os.open(root.LOWER, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        for name in ("live", "kept"):
            os.mkdir(name, 0o700, dir_fd=self._vault)
        for covered in (root.LAYERS, root.LOWER):
            kernel.mount("covered", covered, "tmpfs", _PLAIN | 1, "mode=000,size=4k,nr_inodes=1")
        self.views: dict[int, View] = {}
        self._left: View | None = None
        """The first view of a session that has ended, with what is still mounted of it."""
        self._lasting: list[str] = []
        """What may stay mounted of it, as long as all is `_still` there."""
        self._still: Still | None = None
        self._numbers = count()
        self._kept = False
        self._marks = Marks(self._path("kept"))

    def open(self) -> None:
        """Mount the file systems of a new session, but for those that are left. Raises `OSError`."""
        view, self._left = self._left or self._first_view(), None
        self.views[0] = view
        fresh = not view.mounted
        if fresh:
            self._mount_private(view)
        if root.WORK not in view.mounted:
            self._mount(view, view.overlay, 0, f"mode=700,{self._size}")
            os.mkdir(view.trees["upper"].path, 0o755)
            self._overlay(view, root.WORK)
            view.mounted.append(root.WORK)
        if fresh:
            self._watch(view)
        self._open_up(self._config["protected"])

    def _first_view(self) -> View:
        trees = {
            "upper": Tree(f"{self._path('live')}/upper"),
            "tmp": Tree(root.TMP, frozenset(path.split("/")[2] for path in self._shown)),
            "shm": Tree(root.SHM),
        }
        return View(trees, self._path("live"), tag=resource.getrlimit(_LOCKS)[1])

    def _mount_private(self, view: View) -> None:
        """Mount /tmp and /dev/shm."""
        shown = {path: kernel.clone_tree(path) for path in self._shown}
        self._mount(view, root.TMP, 0, f"mode=1777,{self._size}")
        for path, tree in shown.items():  # an interpreter may live below the host's /tmp
            root.attach(tree, path)
        self._mount(view, root.SHM, kernel.MS_NOEXEC, f"mode=1777,{self._size}")

    def _watch(self, view: View) -> None:
        """Find out whether a fresh view is used. Of a folder of the user's it is not kept: the kernel would remember
        what had been there, while the user changes it."""
        if self._still is not None:
            self._still.close()
        self._still, self._lasting = None, [root.TMP, root.SHM]
        watched = [*self._lasting]
        if not self._config["lowers"]:
            self._lasting += [view.overlay, root.WORK]
            watched += [view.trees["upper"].path, root.WORK]
        with suppress(OSError):
            self._still = Still(watched)

    def close(self) -> None:
        """Drop the session's file systems with all that is in them, or leave those to the next one that are as they
        were. No process may use them any more."""
        for number in sorted(self.views.keys() - {0}, reverse=True):
            self.drop(number)
        if (first := self.views.pop(0, None)) is not None:
            self._leave(first)
        if self._kept:
            kernel.umount(self._path("kept"))
        self._kept, self._marks = False, Marks(self._path("kept"))

    def _leave(self, view: View) -> None:
        """Leave the first view to the next session, as far as it is as it was."""
        lasting = self._lasting if self._still is not None and self._still.holds() else []
        for path in reversed(view.mounted):
            if path not in lasting:
                kernel.umount(path)
        view.mounted = [path for path in view.mounted if path in lasting]
        self._left = view

    def drop(self, number: int) -> None:
        """Drop one view. No process may use it any more."""
        view = self.views.pop(number)
        for path in reversed(view.mounted):
            kernel.umount(path)
        if number:
            os.rmdir(view.overlay)
        if view.namespace >= 0:
            os.close(view.namespace)

    def _mount(self, view: View, path: str, flags: int, options: str) -> None:
        kernel.mount("sandsmith", path, "tmpfs", _PLAIN | flags, options)
        view.mounted.append(path)

    def _path(self, name: str) -> str:
        """A path below the covered layers, which only the holder of the descriptor can name."""
        return f"/proc/self/fd/{self._vault}/{name}"

    def _overlay(self, view: View, target: str) -> None:
        os.mkdir(view.work, 0o755)
        lowers = ":".join(f"/proc/self/fd/{self._lower}/{name}" for name in self._names)
        options = f"lowerdir={lowers},upperdir={view.trees['upper'].path},workdir={view.work}"
        kernel.mount("work", target, "overlay", _PLAIN, f"{options},userxattr,index=off")

    def _open_up(self, paths: list[str]) -> None:
        """Give the program what root, who started it, may do with write-protected files: in the view only."""
        for path in paths:
            target = os.path.join(root.WORK.encode(), os.fsencode(path))
            with suppress(OSError):  # a file too large for the limit on disk stays as it is
                mode = os.stat(target, follow_symlinks=False).st_mode
                os.chmod(target, stat.S_IMODE(mode) | (0o700 if stat.S_ISDIR(mode) else 0o600))

    # -- marks -----------------------------------------------------------------------------------------------------

    def mark(self, number: int, mark: int, after: int | None, mapped: bool) -> None:
        """Keep the files of a view as `mark`; see `Marks.take`. Raises `OSError` when they do not fit."""
        if not self._kept:
            kernel.mount("sandsmith", self._path("kept"), "tmpfs", _PLAIN, f"mode=700,{self._kept_size()}")
            self._kept = True
        self._marks.take(mark, self.views[number].trees, after=after, mapped=mapped)

    def _kept_size(self) -> str:
        times = max(1, self._config["history"])
        return f"size={self._config['disk_bytes'] * 2},nr_inodes={(self._config['files'] + 16) * (times + 1)}"

    def forget(self, marks: Iterable[int]) -> None:
        """Drop marks."""
        self._marks.forget(marks)

    def restore(self, number: int, mark: int | None) -> None:
        """Put a view back to a mark, the first one to its beginning for None. No process may run in it. Raises
        `OSError`."""
        view = self.views[number]
        if mark is None:
            kernel.umount(root.WORK)
            self._renew(view)
            for name in ("tmp", "shm"):
                view.trees[name].empty()
            self._overlay(view, root.WORK)
            self._open_up(self._config["protected"])
            return
        changed = self._marks.changed(mark, view.trees)
        if "upper" not in changed:
            self._marks.put_back(mark, changed)
            return
        with self._within(view):
            kernel.umount(root.WORK)
        self._renew(view)
        self._marks.put_back(mark, {**changed, "upper": view.trees["upper"]})
        self._show(view)

    def _renew(self, view: View) -> None:
        """Have the upper layer made anew, in another place: a process that is on its way out may still hold the overlay
        that was here, and no two of them may have one place in common."""
        for path in (view.trees["upper"].path, view.work):
            Tree(path).empty()
            os.rmdir(path)
        view.trees["upper"] = Tree(f"{view.overlay}/{next(self._numbers)}")
        os.mkdir(view.trees["upper"].path, 0o755)

    # -- branches --------------------------------------------------------------------------------------------------

    def grow(self, number: int, source: int) -> None:
        """Make the view `number`, with the files of another one. Raises `OSError`."""
        home = self._path(f"branch{number}")
        with suppress(FileExistsError):
            os.mkdir(home, 0o700)
        names = {"upper": "upper", "tmp": "tmp", "shm": "shm"}
        view = self.views[number] = View({name: Tree(f"{home}/{folder}") for name, folder in names.items()}, home)
        self._mount(view, home, 0, f"mode=755,{self._size}")
        for name, tree in self.views[source].trees.items():
            copy_tree(tree, view.trees[name].path)

    def settle(self, number: int, source: int, pid: int) -> None:
        """Show a view to the process `pid`, which has a mount namespace of its own. Raises `OSError`."""
        view = self.views[number]
        self._tag(view, self.views[source], pid)
        view.namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        places = {root.TMP: view.trees["tmp"].path, root.SHM: view.trees["shm"].path}
        shown = {path: kernel.clone_tree(path) for path in self._shown}
        trees = {place: kernel.clone_tree(path) for place, path in places.items()}
        with self._within(view):
            for place, tree in trees.items():
                root.attach(tree, place)
            for path, tree in shown.items():
                root.attach(tree, path)
            root.mount_proc(hidden=True)
        self._show(view)

    def _tag(self, view: View, above: View, pid: int) -> None:
        """Tag a process, and all that it will start. The tag is the hard limit on a resource that Linux has not looked
        at since 2.4 (getrlimit(2)): everybody may lower it, to something that is no tag, and nobody raise it."""
        most = _UNLIMITED if above.tag == resource.RLIM_INFINITY else above.tag
        view.tag = random.SystemRandom().randrange(most // 2, most)
        resource.prlimit(pid, _LOCKS, (view.tag, view.tag))

    def view_of(self, pid: int) -> int | None:
        """The view of a process by its tag (proc_pid_limits(5)); None for one that is gone, or has a tag of nobody."""
        with suppress(OSError):
            with open(f"/proc/{pid}/limits", "rb") as file:
                [limit] = [line.split()[4] for line in file if line.startswith(b"Max file locks")]
            tag = resource.RLIM_INFINITY if limit == b"unlimited" else int(limit)
            for number, view in self.views.items():
                if view.tag == tag:
                    return number
        return None

    def _show(self, view: View) -> None:
        """Mount a view's overlay where its program finds it."""
        if view.namespace < 0:
            self._overlay(view, root.WORK)
            return
        place = f"{view.overlay}/view"
        with suppress(FileExistsError):
            os.mkdir(place)
        self._overlay(view, place)
        tree = kernel.clone_tree(place)
        kernel.umount(place)
        with self._within(view):
            root.attach(tree, root.WORK)

    @contextmanager
    def _within(self, view: View) -> Generator[None]:
        """In the mount namespace of a view."""
        if view.namespace < 0:
            yield
            return
        kernel.setns(view.namespace, kernel.CLONE_NEWNS)
        try:
            yield
        finally:
            kernel.setns(self._own, kernel.CLONE_NEWNS)

    def is_crowded(self, number: int) -> bool:
        """Whether more than half of the room for the files of a view is taken, or of their number."""
        infos = [os.statvfs(path) for path in self.views[number].mounted]
        return any(2 * info.f_ffree < info.f_files or 2 * info.f_bfree < info.f_blocks for info in infos)

    def used_bytes(self) -> int:
        """Memory that the session's files take."""
        paths = [path for view in self.views.values() for path in view.mounted]
        infos = [os.statvfs(path) for path in (*paths, *([self._path("kept")] if self._kept else []))]
        return sum((info.f_blocks - info.f_bfree) * info.f_frsize for info in infos)
