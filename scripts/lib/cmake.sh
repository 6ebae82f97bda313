# Builds of the engine's tests and tools. Sourced after setup.sh.

# configure_and_build PRESET [TARGET…]: everything of a preset, or only these targets.
configure_and_build() {
  local preset=$1 targets=()
  shift
  [ $# -eq 0 ] || targets=(--target "$@")
  need_commands g++=g++ cmake=cmake ninja=ninja-build em++=emscripten
  need_apt catch2 libsimde-dev
  need_node
  (
    cd "$root"
    [ -f "build/$preset/build.ninja" ] || quietly cmake --preset "$preset"
    quietly cmake --build --preset "$preset" "${targets[@]}"
  )
}
