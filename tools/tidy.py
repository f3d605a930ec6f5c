#!/usr/bin/env python3
"""Looks at the tree for what no compiler says; prints one line for each fault, and ends with status 1 if there are any.

  tidy.py ROOT [CLANG_FORMAT]

  - lines of C++ are at most 120 characters, and as clang-format would have them (where CLANG_FORMAT is given)
  - every .cpp of lib/ is listed in a meson.build, and every file that one lists is there
  - a room of lib/ includes only itself and those below it in the table of lib/README.md
  - every file that lib/README.md names is there
  - no table of a page is empty
  - words that hide a standard term, and the names of machines' folders, are not in the tree
"""

import concurrent.futures
import os
import re
import subprocess
import sys

WIDTH = 120
ROOM = re.compile(r"^\| `(\w+)/` \|")
INCLUDE = re.compile(r'^#include "lib/(\w+)/')
LISTED = re.compile(r"'([\w./-]+\.cpp)'")
NAMED = re.compile(r"`((?:\w+/)+\w+\.[ch]pp)`")
# What LocalPool's parts were called before: the field has words for them.
WORDS = re.compile(r"\b(?:mourn|doom(?:ed)?|[Cc]orpses?|roll[_ ]calls?|bury_dead|left_alone|fully_staffed)\b")
FOLDERS = re.compile(r"(?<![\w$}])/(?:work|home/\w+)/\w")


def files(root, *endings):
    listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        names = listed.stdout.splitlines()
    else:  # an archive of the sources
        names = [
            os.path.relpath(os.path.join(folder, name), root)
            for folder, _, all_names in os.walk(root)
            for name in all_names
            if "/.git" not in folder and "/build" not in folder
        ]
    return sorted(name for name in set(names) if name.endswith(endings) and os.path.isfile(os.path.join(root, name)))


def read(root, name):
    with open(os.path.join(root, name), encoding="utf-8") as file:
        return file.read().splitlines()


def lines_and_words(root, names):
    for name in names:
        for number, line in enumerate(read(root, name), 1):
            if len(line) > WIDTH:
                yield f"{name}:{number}: {len(line)} characters, {WIDTH} are allowed"
            if word := WORDS.search(line):
                yield f"{name}:{number}: the word '{word.group()}' hides a standard term"
            if FOLDERS.search(line):
                yield f"{name}:{number}: names a folder of somebody's machine"


def formatting(root, names, clang_format):
    def look(part):
        run = subprocess.run([clang_format, "--dry-run", "-Werror", *part], cwd=root, capture_output=True, text=True)
        said = re.findall(r"^(\S+?):(\d+):\d+: error: .*clang-format", run.stderr, re.MULTILINE)
        if run.returncode != 0 and not said:
            return [f"{clang_format} failed: {run.stderr.strip()[:300]}"]
        first = {}
        for name, number in said:
            first.setdefault(name, number)
        return [f"{name}:{number}: not as clang-format has it: clang-format -i {name}" for name, number in first.items()]

    parts = [names[at : at + 20] for at in range(0, len(names), 20)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for faults in pool.map(look, parts):
            yield from faults


def sources(root):
    listed = set()
    for name in files(root, "meson.build"):
        folder = os.path.dirname(name)
        if not folder.startswith("lib"):
            continue
        for line in read(root, name):
            for source in LISTED.findall(line):
                path = os.path.normpath(os.path.join(folder, source))
                listed.add(path)
                if not os.path.isfile(os.path.join(root, path)):
                    yield f"{name}: lists {source}, which is not there"
    for name in files(root, ".cpp"):
        if name.startswith("lib/") and name not in listed:
            yield f"{name}: no meson.build lists it"


def includes(root):
    page = read(root, "lib/README.md")
    rooms = [found.group(1) for found in map(ROOM.match, page) if found]
    for name in files(root, ".cpp", ".hpp"):
        parts = name.split("/")
        if parts[0] != "lib" or len(parts) < 3:
            continue
        if parts[1] not in rooms:
            yield f"{name}: its room is not in the table of lib/README.md"
            continue
        for number, line in enumerate(read(root, name), 1):
            found = INCLUDE.match(line)
            if found and (found.group(1) not in rooms or rooms.index(found.group(1)) < rooms.index(parts[1])):
                yield f"{name}:{number}: includes upwards, from {found.group(1)}/"
    for number, line in enumerate(page, 1):
        for path in NAMED.findall(line):
            if not any(os.path.isfile(os.path.join(root, top, path)) for top in ("lib", "include", ".")):
                yield f"lib/README.md:{number}: names {path}, which is not there"


def tables(root):
    for name in files(root, ".md"):
        lines = read(root, name)
        for number, line in enumerate(lines, 1):
            if re.match(r"^\|(?: *:?-+:? *\|)+$", line) and not (number < len(lines) and lines[number].startswith("|")):
                yield f"{name}:{number}: an empty table"


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    root = sys.argv[1]
    code = files(root, ".cpp", ".hpp")
    faults = [*lines_and_words(root, code), *sources(root), *includes(root), *tables(root)]
    if len(sys.argv) == 3:
        faults += formatting(root, code, sys.argv[2])
    for fault in faults:
        print(fault)
    print(f"{len(code)} files, {len(faults)} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
