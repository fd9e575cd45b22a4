#!/bin/sh
# Makes .venv from the hash-locked requirements; does nothing when it is that already.
# PYTHON=/path/to/python chooses the interpreter (3.11 or newer). `tools/env.sh interpreter` sees only to that.
set -eu
cd "$(dirname "$0")/.."

suitable() {
	command -v "$1" >/dev/null 2>&1 &&
		"$1" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
	for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
		if suitable "$candidate"; then
			echo "$candidate"
			return
		fi
	done
	return 1
}

# What the environment was made from: the lock, our own metadata, the interpreter and the place (scripts name it).
wanted() {
	{
		cat requirements/dev.txt pyproject.toml
		pwd
		"$1" -c 'import sys; print(sys.version, sys.base_prefix)'
	} | sha256sum | cut -d ' ' -f 1
}

# A folder that was moved or whose interpreter has gone can't be mended, only made again.
usable() {
	[ -x .venv/bin/python ] && .venv/bin/python -c 'import pip' 2>/dev/null &&
		[ "$(.venv/bin/python -c 'import sys; print(sys.prefix)')" = "$(pwd -P)/.venv" ]
}

install() {
	# The lock is closed: asking for dependencies again would only cost time.
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	# The project itself carries no hash; its build backend is in the lock.
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
}

if [ -x .venv/bin/python ] && [ "$(cat .venv/made-from 2>/dev/null)" = "$(wanted .venv/bin/python)" ]; then
	exit 0
fi
if ! python=$(find_python); then # by apt as root
	sh tools/programs.sh python >&2
	python=$(find_python) || {
		echo "Python 3.11 or newer with its venv module is needed; name one with: make env PYTHON=/path/to/python" >&2
		exit 1
	}
fi
[ "${1:-}" != interpreter ] || exit 0
usable || { echo "making .venv with $("$python" -V)" && rm -rf .venv && "$python" -m venv .venv; }
echo "installing the locked requirements"
install
wanted .venv/bin/python >.venv/made-from
