#!/bin/sh
# The image roadstead-e2e for the Docker that DOCKER_HOST names, of this machine's own programs and
# the `roads` given as the first argument: nothing can be pulled where the suite runs.
set -eu
roads=$1
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

add() {
    for file in "$@"; do
        [ -e "$file" ] || continue
        cp -a --parents --no-clobber "$file" "$root" 2>/dev/null || true
        real=$(readlink -f "$file")
        [ "$real" = "$file" ] || cp -a --parents --no-clobber "$real" "$root" 2>/dev/null || true
    done
}
libraries() {
    ldd "$1" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do add "$library"; done
}
mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64" "$root/tmp" "$root/var/tmp" "$root/root" "$root/usr/local/bin"
chmod 1777 "$root/tmp" "$root/var/tmp"
for folder in bin sbin lib lib64; do
    [ ! -L "/$folder" ] || cp -a "/$folder" "$root/"
done
for name in sh bash dash env cat cp dd echo false id ls mkdir mv rm sleep tail head touch true wc \
    seq sort tr cut date stat chmod chown readlink realpath tee mktemp kill ps timeout hostname \
    uname awk mawk grep sed getent curl python3 redis-cli mount ip ss find df nproc printf test \
    stty tty base64 sha256sum od whoami '[' setpriv node; do
    # Not the shell's own, which some of them are as well.
    program=$(which "$name" || true)
    case $program in
    /*)
        add "$program"
        libraries "$(readlink -f "$program")"
        ;;
    esac
done
libraries "$roads"
install -m 755 "$roads" "$root/usr/local/bin/roads"
chmod 755 "$root"
python=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["stdlib"])')
cp -a --parents "$python" "$root"
find "$python/lib-dynload" -name '*.so' | while read -r module; do libraries "$module"; done
add /etc/passwd /etc/group /etc/nsswitch.conf /etc/ssl/certs/ca-certificates.crt \
    /lib/x86_64-linux-gnu/libnss_*.so.2 /usr/lib/x86_64-linux-gnu/libnss_*.so.2 /etc/debian_version
tar -C "$root" -c . | docker import -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    - roadstead-e2e >/dev/null
