# Runs a command as a pod has it: `sh box.sh SECRETS COMMAND…`, in a mount namespace of its own.
# This folder and the root are read-only, /tmp is new, /run/secrets holds the files of SECRETS, no right is left.
set -eu

secrets=$1
path=$PATH
shift
PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t tmpfs -o mode=0755,size=1m run /run
mkdir /run/secrets
cp -R "$secrets/." /run/secrets
chown -R 0:65532 /run/secrets
chmod -R u=rX,g=rX,o= /run/secrets
mount -o remount,ro /run
mount -t tmpfs -o mode=1777,size=256m tmp /tmp
mount --bind "$PWD" "$PWD"
mount -o remount,bind,ro "$PWD"
mount -o remount,bind,ro /
cd "$PWD"
exec setpriv --reuid 65532 --regid 65532 --clear-groups --no-new-privs --inh-caps -all \
    --bounding-set -all env "PATH=$path" "$@"
