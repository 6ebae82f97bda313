# What scripts/bench compares with. Sourced after setup.sh and python.sh.

# need_peers: onnxruntime-web and fastText from npm, as tests/bench/package-lock.json pins them.
need_peers() {
  local folder="$root/tests/bench"
  cmp -s "$folder/package-lock.json" "$folder/node_modules/.installed-lock" && return
  need_npm
  say "installing from npm into tests/bench/node_modules: what beex is compared with"
  (cd "$folder" && quietly npm ci --ignore-scripts --no-audit --no-fund)
  cp "$folder/package-lock.json" "$folder/node_modules/.installed-lock"
}

# need_encoders: models with random weights in build/bench/encoders.
need_encoders() {
  local folder="$root/build/bench/encoders" sources=("$root"/tests/bench/encoders.py "$root"/model_pack/beex_train/{golden,pack}.py)
  is_current "$folder/.made" "${sources[@]}" && return
  need_venv "$root/model_pack/requirements.txt" "$root/tests/bench/requirements-bench.txt"
  say "making encoders with random weights in build/bench/encoders"
  PYTHONPATH="$root/model_pack" quietly "$VENV/bin/python" "$root/tests/bench/encoders.py" "$folder"
  touch "$folder/.made"
}
