#!/usr/bin/env bash
# Lays out the folder that the Functions host reads, and zips it for a deployment.
#
#   ./package.sh                                        release build for this machine, into target/function-app
#   ./package.sh --target x86_64-unknown-linux-musl --zip target/function-app.zip
#                                                       static build, and the zip that Azure gets
#   ./package.sh --binary FILE --out DIR                no build: lay out FILE in DIR (the tests use it)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    sed -n '2,8s/^# \{0,1\}//p' package.sh >&2
    exit 1
}

target='' zip='' binary='' out='target/function-app'
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage
    case "$1" in
        --target) target=$2 ;;
        --zip) zip=$2 ;;
        --binary) binary=$2 ;;
        --out) out=$2 ;;
        *) usage ;;
    esac
    shift 2
done

if [ -z "$binary" ]; then
    target_dir=${CARGO_TARGET_DIR:-target}
    if [ -n "$target" ]; then
        cargo build --release --locked --bin lastfm-archive --target "$target"
        binary=$target_dir/$target/release/lastfm-archive
    else
        cargo build --release --locked --bin lastfm-archive
        binary=$target_dir/release/lastfm-archive
    fi
fi
[ -f "$binary" ] || { echo "package.sh: there is no binary \`$binary\`" >&2; exit 1; }
# What is called static is static: there is no loader to ask for, so it runs on any Linux, and in an image without one.
case $target in *-musl*)
    python3 - "$binary" <<'PYTHON'
import struct, sys

elf, INTERPRETER = open(sys.argv[1], "rb").read(), 3
static = elf[:5] == b"\x7fELF\x02"
if static:
    (offset,), (size, count) = struct.unpack_from("<Q", elf, 32), struct.unpack_from("<HH", elf, 54)
    static = INTERPRETER not in [struct.unpack_from("<I", elf, offset + size * number)[0] for number in range(count)]
if not static:
    sys.exit(f"package.sh: `{sys.argv[1]}` is not a static program")
PYTHON
    ;;
esac

# A fixed list: nothing else ever gets into the zip, above all not local.settings.json.
files=(host.json lastfm-archive)
for folder in function-triggers/*/; do
    files+=("$(basename "$folder")/function.json")
done

# Removed as a whole first: a function that no longer exists must not stay behind.
rm -rf "$out"
mkdir -p "$out"
cp host.json "$out/host.json"
install -m 755 "$binary" "$out/lastfm-archive"
for folder in function-triggers/*/; do
    mkdir -p "$out/$(basename "$folder")"
    cp "${folder}function.json" "$out/$(basename "$folder")/function.json"
done
# For `func start`: kept in the repository's root, where `cargo clean` cannot delete it.
if [ -f local.settings.json ]; then
    cp local.settings.json "$out/local.settings.json"
fi
echo "package.sh: laid out $out"

if [ -n "$zip" ]; then
    # Python keeps modes on every platform and needs no further tool; times and order are fixed, so the same
    # files make the same bytes.
    python3 - "$out" "$zip" "${files[@]}" <<'PYTHON'
import sys, zipfile
from pathlib import Path

out, target, names = Path(sys.argv[1]), Path(sys.argv[2]), sorted(sys.argv[3:])
target.parent.mkdir(parents=True, exist_ok=True)
with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
    for name in names:
        entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.create_system = 3
        entry.external_attr = (0o100755 if name == "lastfm-archive" else 0o100644) << 16
        archive.writestr(entry, (out / name).read_bytes())
PYTHON
    echo "package.sh: zipped $zip"
fi
