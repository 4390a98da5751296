# Sourced by the executables beside it: makes the project's environment and puts it on PATH.
#
# Finds uv or installs it with any Python's pip, finds a Python >= 3.12 (on PATH, under pyenv, in the usual places),
# and syncs .venv with the lock file. Says what is missing and stops where it can't. pyenv's shims refuse to run
# where .python-version names a version that pyenv lacks, so interpreters are looked for by path and tried.
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
LOCAL="$ROOT/.venv"

runs() { "$@" >/dev/null 2>&1; }

find_python() { # print a Python whose version is at least 3.$1, newest first
  local least="$1" minor candidate
  shopt -s nullglob
  for minor in 14 13 12 11 10 9; do
    [ "$minor" -ge "$least" ] || continue
    for candidate in "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python \
      "/usr/bin/python3.$minor" "/usr/local/bin/python3.$minor" "/opt/homebrew/bin/python3.$minor" \
      "$HOME/.local/share/uv/python/cpython-3.$minor"*/bin/python3; do
      if runs "$candidate" -c "import ssl, venv, sys; sys.exit(sys.version_info < (3, $least))"; then
        "$candidate" -c 'import sys; print(sys.executable)'
        return 0
      fi
    done
  done
  for candidate in python3 python; do
    if runs "$candidate" -c "import ssl, venv, sys; sys.exit(sys.version_info < (3, $least))"; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return 0
    fi
  done
  return 1
}

find_uv() { # print a uv that runs; install one under .venv-tools where there is none
  local candidate any
  for candidate in uv "$HOME/.local/bin/uv" "$HOME/.cargo/bin/uv" "$ROOT/.venv-tools/bin/uv"; do
    if runs "$candidate" --version; then command -v "$candidate"; return 0; fi
  done
  any="$(find_python 9)" || return 1
  echo "sluicegate: installing uv into .venv-tools" >&2
  "$any" -m venv "$ROOT/.venv-tools" >&2 || return 1
  "$ROOT/.venv-tools/bin/pip" install --quiet uv >&2 || return 1
  echo "$ROOT/.venv-tools/bin/uv"
}

PYTHON="$(find_python 12)" || PYTHON=""
UV="$(find_uv)" || {
  echo "sluicegate: no uv, and none could be installed: install uv (https://docs.astral.sh/uv/) or a Python with pip and venv." >&2
  exit 2
}
if [ -z "$PYTHON" ]; then
  # uv can bring its own where it may download one.
  PYTHON="3.13"
  runs "$UV" python find "$PYTHON" || "$UV" python install "$PYTHON" >&2 || {
    echo "sluicegate: no Python >= 3.12 here (looked on PATH, under pyenv and in the usual places), and uv could not fetch one: install Python 3.13." >&2
    exit 2
  }
fi
[ -d "$LOCAL" ] || echo "sluicegate: making the environment in .venv (once, about a minute)" >&2
UV_PYTHON="$PYTHON" "$UV" sync --project "$ROOT" --frozen --quiet || {
  echo "sluicegate: uv could not install the packages of uv.lock (see above): is the package index reachable?" >&2
  exit 2
}
export PATH="$LOCAL/bin:$PATH" VIRTUAL_ENV="$LOCAL"
unset PYTHONHOME PYTHONPATH
