#!/usr/bin/env python3
"""Writes the licences of every crate that the program is linked from: licences.py FOLDER.

crates.txt has a line per crate: name, version, licence, source. Each crate's own licence files are
copied beside it; a crate without a licence is an error."""
import json
import pathlib
import shutil
import subprocess
import sys

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
rustc = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
host = next(line.split()[1] for line in rustc.splitlines() if line.startswith("host:"))
command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", host]
metadata = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
packages = {p["id"]: p for p in metadata["packages"]}
nodes = {n["id"]: n for n in metadata["resolve"]["nodes"]}

# Crates that reach the program: over ordinary dependencies, not those of tests and builds.
linked, queue = set(), [metadata["resolve"]["root"]]
while queue:
    here = queue.pop()
    if here in linked:
        continue
    linked.add(here)
    for dependency in nodes[here]["deps"]:
        if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
            queue.append(dependency["pkg"])

lines = []
for package in sorted((packages[i] for i in linked), key=lambda p: (p["name"], p["version"])):
    source = pathlib.Path(package["manifest_path"]).parent
    licence = package["license"] or (package["license_file"] and "see its file")
    if not licence:
        sys.exit(f"licences.py: {package['name']} {package['version']} names no licence")
    lines.append(f"{package['name']} {package['version']}  {licence}  {package['repository'] or ''}".rstrip())
    words = ("license", "licence", "copying", "copyright", "notice", "unlicense")
    for file in sorted(source.iterdir()):
        if file.is_file() and file.name.lower().startswith(words):
            shutil.copy(file, folder / f"{package['name']}-{package['version']}-{file.name}")
(folder / "crates.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
