# Compares the contracts with those this work started from: `sh tests/checks/breaking.sh BUF`.
set -eu

before=$(sh "$(dirname "$0")/before.sh")
if [ -z "$before" ] || ! git cat-file -e "$before:protos/buf.yaml" 2>/dev/null; then
    echo "no earlier contracts here, so none are broken"
    exit 0
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
git archive "$before" protos >"$folder/protos.tar"
tar -x -f "$folder/protos.tar" -C "$folder"
"$1" breaking protos --against "$folder/protos"
echo "contracts are compatible with $(git rev-parse --short "$before")"
