# Python for training and its tests. Sourced; the caller has set `root`.

VENV="${BEEX_VENV:-$root/.venv}"

# need_venv REQUIREMENTS…: a virtual environment with these requirement files installed. Does nothing when it is up to date.
need_venv() {
  local file stamp
  if [ ! -x "$VENV/bin/python" ]; then
    if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "installing python3-venv (Debian package)" >&2
      apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv >&2
    fi
    echo "creating a Python environment in $VENV" >&2
    python3 -m venv "$VENV"
  fi
  for file in "$@"; do
    stamp="$VENV/.installed-$(basename "$file")"
    if ! cmp -s "$file" "$stamp"; then
      echo "installing from PyPI: $(grep -v '^#' "$file" | tr '\n' ' ')(PyTorch brings several GB)" >&2
      "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -r "$file" >&2
      cp "$file" "$stamp"
    fi
  done
}
