# Adds to `tree` the folders of code that are named, with what all share, and makes the tree the same
# for each build: byte code that is not checked against files, one date, not writable.
set -eu

python -m zipfile -e dist/*.whl wheel
mkdir -p tree/services
cp -R wheel/runplane wheel/runplane-*.dist-info tree/
cp -R wheel/services/__init__.py wheel/services/chassis tree/services/
for folder in "$@"; do
    mkdir -p "tree/$folder"
    cp -R "wheel/$folder/." "tree/$folder/"
done
python -m compileall -q -j 0 --invalidation-mode unchecked-hash -s tree tree
find tree -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
chmod -R a-w,a+rX tree
