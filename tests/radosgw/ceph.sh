#!/bin/sh
# A small Ceph in a folder of its own: `ceph.sh root` makes the Debian root, `ceph.sh start` starts monitor, store and
# gateway in it. The second runs inside namespaces that `python -m tests.radosgw` opens; what it mounts and starts ends
# with them.
set -eu

HOME_OF_ROOT=${PODKEY_RADOSGW:-${XDG_CACHE_HOME:-$HOME/.cache}/podkey/radosgw}
ROOT=$HOME_OF_ROOT/root

# Debian's radosgw 20: the one of bookworm cannot make roles.
make_root() {
    if [ -e "$HOME_OF_ROOT/ready" ]; then return; fi
    command -v debootstrap >/dev/null || { echo "install debootstrap first" >&2; exit 3; }
    rm -rf "$ROOT"
    mkdir -p "$HOME_OF_ROOT"
    debootstrap --variant=minbase sid "$ROOT" >"$HOME_OF_ROOT/debootstrap.log" 2>&1
    # Nothing of it may start by itself.
    printf '#!/bin/sh\nexit 101\n' >"$ROOT/usr/sbin/policy-rc.d"
    chmod +x "$ROOT/usr/sbin/policy-rc.d"
    export ROOT
    unshare --mount sh -c 'mount --make-rprivate / && mount -t proc proc "$ROOT/proc" &&
        DEBIAN_FRONTEND=noninteractive chroot "$ROOT" apt-get install -y --no-install-recommends \
            radosgw ceph-mon ceph-osd ceph-common' >"$HOME_OF_ROOT/apt.log" 2>&1 || true
    # ceph-osd's configuration step fails in a chroot over a package that is not used here.
    chroot "$ROOT" radosgw --version && touch "$HOME_OF_ROOT/ready"
}

in_root() { chroot "$ROOT" env LC_ALL=C "$@"; }

# Data in memory, one copy. Without cephx the gateway does not even connect.
configure() {
    mount --make-rprivate /
    mount -t proc proc "$ROOT/proc"
    mount --rbind /dev "$ROOT/dev"
    for folder in tmp run etc/ceph var/lib/ceph var/log/ceph; do
        mkdir -p "$ROOT/$folder"
        mount -t tmpfs -o size=1g tmpfs "$ROOT/$folder"
    done
    cp "$1" "$ROOT/etc/ceph/tls.pem"
    mkdir -p "$ROOT/var/lib/ceph/mon" "$ROOT/var/lib/ceph/osd" "$ROOT/run/ceph"
    FSID=$(cat /proc/sys/kernel/random/uuid)
    cat >"$ROOT/etc/ceph/ceph.conf" <<END
[global]
fsid = $FSID
mon_host = [v2:127.0.0.1:3300,v1:127.0.0.1:6789]
auth_allow_insecure_global_id_reclaim = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
# Few placement groups, or the gateway cannot make its pools on one store.
osd_pool_default_pg_num = 2
osd_pool_default_pgp_num = 2
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = 1073741824
rgw_frontends = beast ssl_endpoint=127.0.0.1:7443 ssl_certificate=/etc/ceph/tls.pem ssl_private_key=/etc/ceph/tls.pem tcp_nodelay=1
rgw_s3_auth_use_sts = true
rgw_sts_key = $(head -c 8 /proc/sys/kernel/random/uuid)$(tail -c 9 /proc/sys/kernel/random/uuid)
# The issuer of the proof has a certificate of an authority that is made for it.
rgw_verify_ssl = false
debug_rgw = ${PODKEY_RADOSGW_DEBUG:-1}
END
}

start() {
    configure "$1"
    ADMIN=/etc/ceph/ceph.client.admin.keyring
    in_root ceph-authtool --create-keyring $ADMIN --gen-key -n client.admin \
        --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
    in_root ceph-authtool --create-keyring /tmp/mon --gen-key -n mon. --cap mon 'allow *'
    in_root ceph-authtool /tmp/mon --import-keyring $ADMIN
    in_root monmaptool --create --fsid "$FSID" --addv a '[v2:127.0.0.1:3300,v1:127.0.0.1:6789]' /tmp/map
    in_root ceph-mon --mkfs -i a --monmap /tmp/map --keyring /tmp/mon --mon-data /var/lib/ceph/mon/a
    in_root ceph-mon -f -i a --mon-data /var/lib/ceph/mon/a >"$HOME_OF_ROOT/mon.log" 2>&1 &
    in_root timeout 60 ceph -s >/dev/null
    OSD=$(cat /proc/sys/kernel/random/uuid)
    DATA=/var/lib/ceph/osd/0
    in_root ceph osd new "$OSD"
    mkdir -p "$ROOT$DATA"
    in_root ceph auth get-or-create osd.0 mon 'allow profile osd' osd 'allow *' -o $DATA/keyring
    in_root ceph-osd -i 0 --mkfs --osd-uuid "$OSD" --osd-data $DATA
    in_root ceph-osd -f -i 0 --osd-data $DATA --keyring $DATA/keyring >"$HOME_OF_ROOT/osd.log" 2>&1 &
    in_root radosgw -d -n client.admin --keyring $ADMIN >"$HOME_OF_ROOT/rgw.log" 2>&1 &
}

case "${1:-}" in
root) make_root ;;
start) start "$2" ;;
*) echo "usage: ceph.sh root | start CERTIFICATE" >&2; exit 64 ;;
esac
