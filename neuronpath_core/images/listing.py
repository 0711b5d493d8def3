"""What lies in a folder or tar file of pictures: those that are read, each file once, and what is
left out and why."""

from __future__ import annotations

import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from PIL import Image

from neuronpath_core.support.text import listed

# of file systems and programs, never of a data set; so is every name that begins with a dot
NOT_OURS = {"@eadir", "__macosx", "#recycle", "#snapshot", "$recycle.bin", "lost+found",
            "system volume information", "thumbs.db"}
# formats that Pillow registers and that hold no picture by themselves, or pages
NO_PICTURES = {".bufr", ".eps", ".grib", ".h5", ".hdf", ".mpeg", ".mpg", ".pdf", ".ps"}
# pictures that Pillow alone does not read
FOREIGN = {".arw", ".cr2", ".dcm", ".dng", ".exr", ".heic", ".heif", ".jxl", ".nef", ".svg"}
# of downloads that were not finished, after the ending of the file
UNFINISHED = (".part", ".crdownload", ".download", ".tmp")
READABLE = {ending for ending, kind in Image.registered_extensions().items()
            if kind in Image.OPEN} - NO_PICTURES
OTHER_ENDINGS = READABLE | FOREIGN | {f".{ending}{rest}" for ending in ("jpg", "jpeg", "png")
                                      for rest in UNFINISHED}


@dataclass
class Listing:
    """The pictures of a folder or tar file in natural order, and what else was found.

    Attributes:
        root: the folder or tar file.
        endings: of the pictures that are read, in small letters.
        names: of the pictures that are read, with ``/`` between folders.
        members: of a tar file: where each picture is, ``(member, tar file within the tar file)``.
        hidden, special, links, twice: pictures left out because their name or a folder's is hidden,
            they are no regular files, they are links to what is read under its own name or not to
            be followed, or they are one file with another (hard links).
        leaving: links to pictures that are not read under names of their own.
        others: ending -> number of pictures of other endings.
        folders: right below ``root``.
    """

    root: str
    endings: set[str]
    names: list[str] = field(default_factory=list)
    members: dict[str, tuple] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    leaving: list[str] = field(default_factory=list)
    others: Counter = field(default_factory=Counter)
    folders: list[str] = field(default_factory=list)

    def takes(self, name: str, regular: bool = True) -> bool:
        """Whether a file is a picture to be read, by its name and kind; of what is left out a note
        is made."""
        ending = ending_of(name)
        if ending not in self.endings:
            if ending in OTHER_ENDINGS and not is_hidden(name):
                self.others[ending] += 1
            return False
        reason = self.hidden if is_hidden(name) else None if regular else self.special
        if reason is not None:
            reason.append(name)
        return reason is None

    def left_out(self) -> list[str]:
        """One phrase for each reason why pictures are left out, with numbers and names."""
        said = []
        if self.others:
            each = [f"{ending} {count}" for ending, count
                    in sorted(self.others.items(), key=lambda item: (-item[1], item[0]))]
            every = ";".join(sorted(self.endings | set(self.others) & READABLE))
            said.append(f"pictures of other endings, not read: {self.others.total()}, "
                        f"{listed(each, 6)} (in the data set's entry, input_key: {every} names all "
                        f"that Pillow can read)")
        reasons = {"hidden or of a file system's own": self.hidden,
                   "no regular files": self.special,
                   "links, not followed": self.links,
                   "hard links to a picture that is read": self.twice}
        return said + [f"{words}: {len(names)} ({listed(names)})"
                       for words, names in reasons.items() if names]


def natural_key(text: str) -> tuple:
    """What timm sorts by: letters without case, numbers by their value; texts that are equal in
    that by themselves, so that the order is always the same."""
    parts = re.split(r"(\d+)", text.lower())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], text


def ending_of(name: str) -> str:
    """The ending in small letters, with its dot; of a download that was not finished, such as
    ``a.jpg.part``, both."""
    ending = "".join(PurePosixPath(name.lower()).suffixes[-2:])
    return ending if ending.endswith(UNFINISHED) else PurePosixPath(name.lower()).suffix


def is_hidden(name: str) -> bool:
    """Whether a file or one of its folders is hidden or of a file system's own."""
    return any(part.lower() in NOT_OURS or part.startswith(".") and part not in (".", "..")
               for part in name.split("/"))


def list_folder(root: str, endings: set[str], follow: bool | None = None) -> Listing:
    """What lies in a folder; no file is opened.

    Args:
        endings: of the pictures to be read, in small letters.
        follow: links to other places: ``True`` reads what they lead to, each file once, ``False``
            leaves it out, ``None`` refuses it. A link to what is read anyway is left out, so that
            no way goes round in circles.

    Raises:
        ValueError: a folder that cannot be read, or links whose reading nobody chose.
    """
    walk = _Walk(Listing(root, endings), os.path.realpath(root))
    walk.folder("", walk.root)
    while walk.links:
        walk.link(name := min(walk.links), follow)
        walk.links.remove(name)
    found = walk.found
    if found.leaving:
        raise ValueError(f"{len(found.leaving)} links in {root} lead to other places: "
                         f"{listed(found.leaving)}; accepted: follow_links: true in the data set's "
                         f"entry, which reads each file once, or false, which leaves them out")
    found.names.sort(key=natural_key)
    return found


class _Walk:
    """The way through a folder: what was found, links that wait to be looked at, and which folders
    and files were read under their own names."""

    def __init__(self, found: Listing, root: str) -> None:
        self.found, self.root = found, root
        self.links: list[str] = []
        self.walked = {root}
        self.read: dict[int, str] = {}  # by the file system's number

    def folder(self, below: str, folder: str) -> None:
        """Note what lies in a folder and the folders in it; ``below`` is what its names begin with.
        """
        waiting = [(below, folder)]
        for below, folder in waiting:  # it grows as folders are found
            for entry in _entries(folder):
                name = below + entry.name
                if entry.is_symlink():
                    self._note_link(name, entry)
                elif entry.is_dir():
                    waiting.append((f"{name}/", entry.path))
                    if not is_hidden(name):
                        self.walked.add(entry.path)
                        self.found.folders += [] if "/" in name else [name]
                elif self.found.takes(name, entry.is_file()):
                    self._note_file(name, entry.path, entry.inode())

    def _note_file(self, name: str, path: str, number: int) -> None:
        # files of two file systems may have the same number
        again = number in self.read and os.path.samefile(self.read[number], path)
        self.read.setdefault(number, path)
        (self.found.twice if again else self.found.names).append(name)

    def _note_link(self, name: str, entry: os.DirEntry) -> None:
        """A link to a folder or picture waits for its turn; one that leads nowhere is a picture
        that cannot be read, of which one is told when it is opened."""
        if os.path.isdir(entry.path):
            self.links += [] if is_hidden(name) else [name]
        elif not os.path.exists(entry.path):
            self.found.names += [name] if self.found.takes(name) else []
        elif self.found.takes(name, os.path.isfile(entry.path)):
            self.links.append(name)

    def link(self, name: str, follow: bool | None) -> None:
        """Decide on a link, and read what it leads to if it is to be followed."""
        target = os.path.realpath(os.path.join(self.root, name))
        status = os.stat(target)
        read = status.st_ino in self.read and os.path.samefile(self.read[status.st_ino], target)
        if read or target in self.walked or Path(self.root).is_relative_to(target):
            self.found.links.append(name)
        elif not follow:
            (self.found.leaving if follow is None else self.found.links).append(name)
        elif os.path.isdir(target):
            self.walked.add(target)
            self.folder(f"{name}/", target)
        else:
            self._note_file(name, target, status.st_ino)


def _entries(folder: str) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise ValueError(f"the folder {folder} cannot be read ({error.strerror}); accepted: "
                         f"folders with read permission") from error


def list_tar(root: str, endings: set[str]) -> Listing:
    """What lies in a tar file and in tar files right in it; links in it are not followed.

    Raises:
        ValueError: two pictures of one name.
    """
    found = Listing(root, endings)
    with tarfile.open(root) as archive:
        for name, member, inner in _tar_members(archive):
            link = member.issym() or member.islnk()
            if not found.takes(name, link or member.isfile()):
                continue
            if name in found.members:
                raise ValueError(f"{root} holds {listed([name])} more than once; accepted: a tar "
                                 f"file that was made anew, not one that files were appended to")
            if link:
                found.links.append(name)
            else:
                found.members[name] = member, inner
    found.names = sorted(found.members, key=natural_key)
    return found


def _tar_members(archive: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo,
                                                             tarfile.TarInfo | None]]:
    """Name, member and the tar file within the tar file, if it is in one, of all but folders."""
    for member in archive:
        if member.isfile() and member.name.lower().endswith(".tar") and not is_hidden(member.name):
            with tarfile.open(fileobj=archive.extractfile(member)) as inner:
                yield from ((f"{member.name[:-4]}/{each.name}", each, member)
                            for each in inner if not each.isdir())
        elif not member.isdir():
            yield member.name, member, None
