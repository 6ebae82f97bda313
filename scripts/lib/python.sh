# Python for training and its tests. Sourced after setup.sh.

VENV="${BEEX_VENV:-$root/.venv}"

# need_venv REQUIREMENTS…: a virtual environment with these requirement files installed. Does nothing when it is up to date.
need_venv() {
  local file stamp
  if [ ! -x "$VENV/bin/python" ]; then
    if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      need_apt python3 python3-venv
    fi
    say "creating a Python environment in $VENV"
    python3 -m venv "$VENV"
  fi
  for file in "$@"; do
    stamp="$VENV/.installed-$(basename "$file")"
    if ! cmp -s "$file" "$stamp"; then
      say "installing from PyPI into it: $(grep -v '^#' "$file" | tr '\n' ' ')"
      quietly "$VENV/bin/python" -m pip install --disable-pip-version-check -r "$file"
      cp "$file" "$stamp"
    fi
  done
}
