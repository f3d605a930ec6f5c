#!/usr/bin/env bash
# What can be checked of the recipes in tools/packaging without their package managers: see its README.
# usage: packaging_test.sh FOLDER, where the build is kept for the next run
set -euo pipefail
root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
packaging=$root/tools/packaging
work=$1
version=$(sed -nE "s/^  version: '([^']+)',/\1/p" "$root/meson.build")

python3 - "$packaging" "$version" <<'END'
import ast, json, pathlib, sys
folder, version = pathlib.Path(sys.argv[1]), sys.argv[2]
ast.parse((folder / "conan/conanfile.py").read_text())
port = json.loads((folder / "vcpkg/vcpkg.json").read_text())
assert port["version"] == version, f"vcpkg.json has version {port['version']}, the project {version}"
END

# The sources that the Conan recipe exports are enough.
mkdir -p -- "$work/sources"
mapfile -t parts < <(sed -nE 's/.*for part in \((.*)\):.*/\1/p' "$packaging/conan/conanfile.py" | tr -d '" ' | tr , '\n')
((${#parts[@]} > 0))
(cd "$root" && for part in "${parts[@]}"; do cp -ru --parents -- ${part%/\*} "$work/sources"; done)
[[ -e $work/build/build.ninja ]] || meson setup "$work/build" "$work/sources" -Dtests=disabled -Dbenchmarks=disabled >"$work/log"
meson introspect "$work/build" --targets | grep -q '"yoke-worker"'
