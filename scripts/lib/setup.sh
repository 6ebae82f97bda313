# What the other scripts need: tools, packages and builds. Sourced; the caller has set `root`.
#
# Every function does nothing when there is nothing to do, says what it installs before it does so, and writes to stderr only.
# Debian 12 packages come from apt, JavaScript ones from npm into bindings/js/node_modules; nothing else is downloaded.

JS="$root/bindings/js"
PACKAGE_BUILD="$root/build/package"
NODE_VERSION=20.20.2 # fetched only where there is no Node of at least 20.19
# emcc needs acorn, which a Node that is not Debian's does not find by itself.
export NODE_PATH=/usr/share/nodejs

say() { echo "beex: $*" >&2; }

# quietly COMMAND…: runs it, and shows what it printed only when it fails.
quietly() {
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    say "failed: $*"
    return 1
  fi
  rm -f "$log"
}

# need_apt PACKAGE…: these Debian packages.
need_apt() {
  local missing=() package sudo=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null; then
    say "please install what Debian calls: ${missing[*]}"
    return 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      say "please run as root: apt-get install ${missing[*]}"
      return 1
    fi
    sudo=(sudo)
  fi
  say "installing with apt: ${missing[*]}"
  quietly "${sudo[@]}" apt-get update
  quietly "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# need_commands COMMAND=PACKAGE…: these commands, wherever they come from, or else the Debian packages that have them.
need_commands() {
  local pair packages=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || packages+=("${pair#*=}")
  done
  [ ${#packages[@]} -eq 0 ] || need_apt "${packages[@]}"
}

node_is_recent() {
  command -v node >/dev/null &&
    node -e 'const [major, minor] = process.versions.node.split(".").map(Number); process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)'
}

# need_node: a Node that runs the package. Debian 12's own is too old, so a newer one goes into build/node; the system's stays as it is.
need_node() {
  local machine private
  case "$(uname -m)" in
    x86_64) machine=x64 ;;
    aarch64) machine=arm64 ;;
    *) machine=unknown ;;
  esac
  private="$root/build/node/node_modules/node-linux-$machine/bin"
  if ! node_is_recent && [ ! -x "$private/node" ]; then
    if [ "$machine" = unknown ]; then
      say "please install Node 20.19 or newer"
      return 1
    fi
    need_npm
    say "installing from npm into build/node: node-linux-$machine@$NODE_VERSION"
    mkdir -p "$root/build/node"
    quietly npm install --prefix "$root/build/node" --no-audit --no-fund --no-save "node-linux-$machine@$NODE_VERSION"
  fi
  if ! node_is_recent; then export PATH="$private:$PATH"; fi
}

need_npm() { need_commands npm=npm; }

# need_npm_deps: the package's development tools, as package-lock.json pins them.
need_npm_deps() {
  need_node
  cmp -s "$JS/package-lock.json" "$JS/node_modules/.installed-lock" && return
  need_npm
  say "installing from npm into bindings/js/node_modules: the development tools of bindings/js/package.json"
  (cd "$JS" && quietly npm ci --no-audit --no-fund)
  cp "$JS/package-lock.json" "$JS/node_modules/.installed-lock"
}

# build_wasm: the engine with and without SIMD, in build/package/{wasm,wasm-scalar}.
build_wasm() {
  local preset
  need_commands em++=emscripten cmake=cmake ninja=ninja-build
  need_node
  for preset in wasm wasm-scalar; do
    if [ ! -f "$PACKAGE_BUILD/$preset/build.ninja" ]; then
      say "compiling the engine to WebAssembly ($preset)"
      (cd "$root" && quietly cmake --preset "$preset" -B "$PACKAGE_BUILD/$preset" -DBEEX_TESTS=OFF)
    fi
    quietly cmake --build "$PACKAGE_BUILD/$preset" --target engine
  done
}

# is_current STAMP PATH…: no file under the paths is newer than the stamp.
is_current() {
  local stamp=$1
  shift
  [ -f "$stamp" ] && [ -z "$(find "$@" \( -name node_modules -o -name dist \) -prune -o -type f -newer "$stamp" -print -quit 2>/dev/null)" ]
}

# build_package: the npm package in bindings/js/dist.
build_package() {
  local stamp="$PACKAGE_BUILD/.built" started
  need_node
  [ -f "$JS/dist/cli.js" ] && is_current "$stamp" "$root/engine" "$root/bindings" "$root/CMakeLists.txt" "$root/CMakePresets.json" "$root/model_pack/packs" && return
  need_npm_deps
  build_wasm
  started=$(mktemp)
  (cd "$JS" && node build.mjs >&2)
  mv "$started" "$stamp"
}

# build_web: the demo page in web/dist.
build_web() {
  local stamp="$PACKAGE_BUILD/.built-web" started
  build_package
  [ -f "$root/web/dist/index.html" ] && is_current "$stamp" "$root/web" "$PACKAGE_BUILD/.built" && return
  need_npm_deps
  started=$(mktemp)
  node "$root/web/build.mjs" >&2
  mv "$started" "$stamp"
}
