# Compares the contracts with those this work started from: `sh tests/checks/breaking.sh BUF`.
#
# That is where the branch left origin/main or, on main itself, the commit before. The first commit,
# a shallow clone and an unpacked archive have no such commit, and nothing to break.
set -eu

before=$(git merge-base HEAD origin/main 2>/dev/null || true)
if [ -z "$before" ] || [ "$before" = "$(git rev-parse HEAD)" ]; then
    before=$(git rev-parse -q --verify 'HEAD^' 2>/dev/null || true)
fi
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
