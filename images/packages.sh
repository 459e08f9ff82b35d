# Installs what lock files name into `tree`, and nothing else: no wheel that its hash does not fit,
# nothing that has to be compiled, no byte code yet. Run in a stage's WORKDIR.
set -eu

for lock in "$@"; do
    python -m pip install --disable-pip-version-check --no-input --quiet \
        --root-user-action ignore --require-hashes --only-binary :all: --no-deps --no-compile \
        --target tree -r "$lock"
done
rm -rf tree/bin # Scripts for a shell, with the path of this Python in them.
