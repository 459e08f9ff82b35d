# Prints the commit that this work started from: `sh tests/checks/before.sh`.
#
# That is where the branch left origin/main or, on main itself, the commit before. The first commit,
# a shallow clone and an unpacked archive have no such commit: it prints nothing.
set -eu

before=$(git merge-base HEAD origin/main 2>/dev/null || true)
if [ -z "$before" ] || [ "$before" = "$(git rev-parse HEAD)" ]; then
    before=$(git rev-parse -q --verify 'HEAD^' 2>/dev/null || true)
fi
echo "$before"
