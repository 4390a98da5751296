# Sourced by the executables beside it: makes the project's environment and puts it on PATH.
#
# Finds uv or installs it with any Python's pip, finds a Python >= 3.12 (on PATH, under pyenv, in the usual places),
# and syncs .venv with the lock file. Says what is missing and stops where it can't. pyenv's shims refuse to run
# where .python-version names a version that pyenv lacks, so interpreters are looked for by path and tried.
# An environment that is as the lock file wants it is used as it is: no uv, no network, no time.
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
LOCAL="$ROOT/.venv"
TOOLS="$ROOT/.venv-tools"
MADE="$LOCAL/made-from" # what the environment was made from; packages that change after it make it stale

runs() { "$@" >/dev/null 2>&1 </dev/null; }

complain() { printf 'sluicegate: %s\n' "$@" >&2; }

find_python() { # print a Python whose version is at least 3.$1 and that has the modules $2, newest first
  local least="$1" modules="$2" pyenv minor candidate
  local fits="import $modules, sys; sys.exit(sys.version_info < (3, $least))"
  pyenv="$(command -v python3 || true)"
  case "$pyenv" in
    */shims/python3) pyenv="${pyenv%/shims/python3}" ;; # HOME may be another's, and PYENV_ROOT is rarely exported
    *) pyenv="${PYENV_ROOT:-${HOME:-}/.pyenv}" ;;
  esac
  shopt -s nullglob
  for minor in 14 13 12 11 10 9; do
    [ "$minor" -ge "$least" ] || continue
    for candidate in "python3.$minor" "$pyenv/versions/3.$minor".*/bin/python \
      "/usr/bin/python3.$minor" "/usr/local/bin/python3.$minor" "/opt/homebrew/bin/python3.$minor" \
      "${HOME:-}/.local/share/uv/python/cpython-3.$minor"*/bin/python3; do
      if runs "$candidate" -c "$fits"; then
        "$candidate" -c 'import sys; print(sys.executable)'
        return 0
      fi
    done
  done
  for candidate in python3 python; do
    if runs "$candidate" -c "$fits"; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return 0
    fi
  done
  return 1
}

find_uv() { # print a uv that runs; install one under .venv-tools where there is none
  local candidate any
  for candidate in uv "${HOME:-}/.local/bin/uv" "${HOME:-}/.cargo/bin/uv" "$TOOLS/bin/uv"; do
    if runs "$candidate" --version; then command -v "$candidate"; return 0; fi
  done
  any="$(find_python 9 "ssl, venv, ensurepip")" || return 1
  complain "installing uv into .venv-tools"
  "$any" -m venv --clear "$TOOLS/uv" >&2 || return 1
  "$TOOLS/uv/bin/pip" install --quiet --disable-pip-version-check uv >&2 || return 1
  mkdir -p "$TOOLS/bin" && ln -sf "../uv/bin/uv" "$TOOLS/bin/uv"
  echo "$TOOLS/bin/uv"
}

wanted() { # what the environment is made from; its programs know their own place, so a moved one is made anew
  echo "$ROOT"
  cksum <"$ROOT/uv.lock"
  cksum <"$ROOT/pyproject.toml"
}

is_ready() { # whether .venv is as uv.lock wants it, and nothing was installed or removed since
  local packages
  runs "$LOCAL/bin/python" -c "" && [ "$(wanted)" = "$(cat "$MADE" 2>/dev/null)" ] || return 1
  for packages in "$LOCAL"/lib/python3.*/site-packages; do
    if [ "$packages" -nt "$MADE" ]; then return 1; fi
  done
}

make_environment() { # 2 where it can't
  local python uv
  # Certificates: the system's, which know a company's proxy. The caches: HOME may be read-only.
  export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
  if [ -z "${UV_CACHE_DIR:-}" ] && ! runs mkdir -p "${XDG_CACHE_HOME:-${HOME:-}/.cache}/uv/."; then
    export UV_CACHE_DIR="$TOOLS/cache"
  fi
  uv="$(find_uv)" || {
    complain "no uv, and none could be installed: install uv (https://docs.astral.sh/uv/), or a Python with pip" \
      "and venv (on Debian: python3-venv), and see that the package index is reachable."
    return 2
  }
  python="$(find_python 12 "ssl, venv")" || {
    python="3.13" # uv can bring its own where it may download one
    runs "$uv" python find "$python" || "$uv" python install "$python" >&2 || {
      complain "no Python >= 3.12 here (looked on PATH, under pyenv and in the usual places)," \
        "and uv could not fetch one: install Python 3.13."
      return 2
    }
  }
  if ! runs "$LOCAL/bin/python" -c ""; then
    # One that does not run is made anew; whatever else bears the name is not ours to remove.
    if [ -f "$LOCAL/pyvenv.cfg" ]; then rm -rf "$LOCAL"; fi
    if [ -e "$LOCAL" ] || [ -L "$LOCAL" ]; then
      complain "$LOCAL is no environment of Python's: move it away."
      return 2
    fi
    complain "making the environment in .venv (once, about a minute)"
  fi
  UV_PYTHON="$python" "$uv" sync --project "$ROOT" --frozen --quiet || {
    complain "uv could not install the packages of uv.lock (see above): is the package index reachable?" \
      "(If .venv itself is broken, remove it.)"
    return 2
  }
  wanted >"$MADE"
}

unset PYTHONHOME PYTHONPATH
if ! is_ready; then
  if ! { mkdir -p "$TOOLS" && : >>"$TOOLS/lock"; } 2>/dev/null; then
    complain "can't write to $ROOT: clone it to a place of your own."
    exit 2
  fi
  { # two at once: the second waits, then finds it made
    if runs command -v flock; then flock 9; fi
    is_ready || make_environment 9>&-
  } 9<"$TOOLS/lock" || exit 2
fi
export PATH="$LOCAL/bin:$PATH" VIRTUAL_ENV="$LOCAL"
