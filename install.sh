#!/bin/sh
# Installs k3s as a service of systemd or OpenRC; run again, it upgrades or changes the settings.
#
#   ./install.sh [COMMAND] [FLAGS]          COMMAND: server (default), or agent (default where K3S_URL is set)
#   INSTALL_K3S_EXEC="server --disable=servicelb" ./install.sh
#   K3S_URL=https://server:6443 K3S_TOKEN=... ./install.sh
#
# The binary is a file: INSTALL_K3S_ARTIFACT_URL names it, the directory or the address (https://, file://) that holds
# k3s, k3s-arm64 or k3s-armhf; without it, the one beside this script (k3s or bin/k3s) is taken. Nothing is fetched from
# anywhere else. For a machine without network, images (tar, tar.gz, tar.zst) go to /var/lib/rancher/k3s/agent/images.
#
# Variables; true where nothing else is said:
#   K3S_*, CONTAINERD_*, KINE_*, HTTP_PROXY, HTTPS_PROXY, NO_PROXY   are kept for the service
#   INSTALL_K3S_SKIP_DOWNLOAD       true or binary: the binary in INSTALL_K3S_BIN_DIR is used as it is
#   INSTALL_K3S_FORCE_RESTART       restart the service even if nothing has changed
#   INSTALL_K3S_SYMLINK             skip: no kubectl, crictl, ctr; force: also where there are such commands
#   INSTALL_K3S_SKIP_ENABLE         neither enable nor start the service
#   INSTALL_K3S_SKIP_START          do not start it
#   INSTALL_K3S_ARTIFACT_URL        see above
#   INSTALL_K3S_VERSION             folder below an address: <address>/<version>/k3s
#   INSTALL_K3S_CHANNEL_URL, INSTALL_K3S_CHANNEL (stable)
#                                   an address that leads on to .../<version>, where no version is given
#   INSTALL_K3S_BIN_DIR             /usr/local/bin, or /opt/bin where that cannot be written
#   INSTALL_K3S_BIN_DIR_READ_ONLY   nothing is written there
#   INSTALL_K3S_SYSTEMD_DIR         /etc/systemd/system
#   INSTALL_K3S_EXEC                command and flags, before the arguments
#   INSTALL_K3S_NAME                the service is k3s-NAME
#   INSTALL_K3S_TYPE                of the unit: notify
#   INSTALL_K3S_SKIP_SELINUX_RPM, INSTALL_K3S_SELINUX_WARN   accepted: there is no policy package to install
set -e
set -o noglob

info() { echo "[INFO]  $*"; }
warn() { echo "[WARN]  $*" >&2; }
fatal() {
    echo "[ERROR]  $*" >&2
    exit 1
}

# --- words and quotes ---

# Each argument in single quotes, a line for each.
quote() {
    for argument in "$@"; do
        printf '%s\n' "$argument" | sed "s/'/'\\\\''/g; 1s/^/'/; \$s/\$/'/"
    done
}

# The flags as lines of a unit: a backslash at each end but the last.
quoted_lines() {
    for argument in "$@"; do
        printf ' \\\n    %s' "$(quote "$argument")"
    done
}

# INSTALL_K3S_EXEC as the shell's words: quotes count, nothing is expanded.
escape() {
    printf '%s' "$1" | sed "s/[^][:alnum:][:space:]\"'\\/.,:@+^-]/\\\\&/g"
}

# A value between double quotes, for a shell and for systemd.
escape_value() {
    # shellcheck disable=SC2016
    printf '%s' "$1" | sed 's/[\\"`$]/\\&/g'
}

# --- what is wanted, what is there ---

find_supervisor() {
    HAS_SYSTEMD=false
    if [ -x /sbin/openrc-run ]; then
        return 0
    elif [ -x "/bin/systemctl" ] || command -v systemctl >/dev/null 2>&1; then
        HAS_SYSTEMD=true
    else
        fatal 'Can not find systemd or openrc to use as a process supervisor for k3s'
    fi
}

read_settings() {
    case "$1" in
        -* | "")
            COMMAND=server
            if [ -n "$K3S_URL" ]; then
                COMMAND=agent
                [ -n "$K3S_TOKEN" ] || [ -n "$K3S_TOKEN_FILE" ] ||
                    fatal "Defaulted k3s exec command to 'agent' because K3S_URL is defined, but K3S_TOKEN or K3S_TOKEN_FILE is not defined."
            fi
            ;;
        *)
            COMMAND=$1
            shift
            ;;
    esac
    case "$K3S_URL" in
        "" | https://*) ;;
        *) fatal "Only https:// URLs are supported for K3S_URL (have $K3S_URL)" ;;
    esac
    EXEC="$COMMAND$(quoted_lines "$@")"

    if [ -n "$INSTALL_K3S_NAME" ]; then
        NAME=k3s-$INSTALL_K3S_NAME
    elif [ "$COMMAND" = server ]; then
        NAME=k3s
    else
        NAME=k3s-$COMMAND
    fi
    case "$NAME" in
        *[!a-zA-Z0-9.:@-]*) fatal "Invalid characters for system name: $NAME (letters, digits, '.', ':', '@' and '-' are valid)" ;;
    esac

    SUDO=
    [ "$(id -u)" -eq 0 ] || SUDO=sudo

    if [ -n "$INSTALL_K3S_BIN_DIR" ]; then
        BIN_DIR=$INSTALL_K3S_BIN_DIR
    else
        BIN_DIR=/usr/local/bin
        [ -d "$BIN_DIR" ] || $SUDO mkdir -p "$BIN_DIR" 2>/dev/null || true
        if ! $SUDO sh -c ": >'$BIN_DIR/.k3s-writable' && rm -f '$BIN_DIR/.k3s-writable'" 2>/dev/null; then
            [ ! -d "/opt/bin" ] || BIN_DIR=/opt/bin
        fi
    fi
    SYSTEMD_DIR=${INSTALL_K3S_SYSTEMD_DIR:-/etc/systemd/system}
    UNINSTALL_K3S_SH=${UNINSTALL_K3S_SH:-$BIN_DIR/$NAME-uninstall.sh}
    KILLALL_K3S_SH=${KILLALL_K3S_SH:-$BIN_DIR/k3s-killall.sh}
    if [ "$HAS_SYSTEMD" = true ]; then
        SERVICE_FILE=$SYSTEMD_DIR/$NAME.service
        ENVIRONMENT_FILE=$SYSTEMD_DIR/$NAME.service.env
        $SUDO mkdir -p "$SYSTEMD_DIR"
    else
        SERVICE_FILE=/etc/init.d/$NAME
        ENVIRONMENT_FILE=/etc/rancher/k3s/$NAME.env
        $SUDO mkdir -p "/etc/rancher/k3s" "/etc/init.d" "/etc/logrotate.d"
    fi
    [ "$INSTALL_K3S_BIN_DIR_READ_ONLY" != true ] || INSTALL_K3S_SKIP_DOWNLOAD=true
    BEFORE=$(hashes)
}

# Of all that makes a restart worth while.
hashes() {
    $SUDO sha256sum "$BIN_DIR/k3s" "$SERVICE_FILE" "$ENVIRONMENT_FILE" 2>&1 || true
}

# --- the binary ---

find_architecture() {
    case "${ARCH:=$(uname -m)}" in
        amd64 | x86_64) ARCH=amd64 SUFFIX= ;;
        arm64 | aarch64) ARCH=arm64 SUFFIX=-arm64 ;;
        arm*) ARCH=arm SUFFIX=-armhf ;;
        *) fatal "Unsupported architecture $ARCH" ;;
    esac
}

# download ADDRESS FILE
download() {
    if command -v curl >/dev/null 2>&1; then
        curl -fsSL -o "$2" "$1"
    elif command -v wget >/dev/null 2>&1; then
        wget -qO "$2" "$1"
    else
        fatal 'Can not find curl or wget for downloading files'
    fi
}

# Where an address leads on to: the version is its last part.
find_version() {
    [ -z "$INSTALL_K3S_VERSION" ] || return 0
    [ -n "$INSTALL_K3S_CHANNEL_URL" ] || return 0
    channel=${INSTALL_K3S_CHANNEL:-stable}
    info "Finding release for channel $channel"
    if command -v curl >/dev/null 2>&1; then
        INSTALL_K3S_VERSION=$(curl -w '%{url_effective}' -LsS "$INSTALL_K3S_CHANNEL_URL/$channel" -o /dev/null) ||
            fatal "Can not find channel $INSTALL_K3S_CHANNEL_URL/$channel"
    else
        INSTALL_K3S_VERSION=$(wget -SqO /dev/null "$INSTALL_K3S_CHANNEL_URL/$channel" 2>&1 | sed -n 's/^ *[Ll]ocation: *//p' | tail -n 1)
    fi
    INSTALL_K3S_VERSION=${INSTALL_K3S_VERSION##*/}
    [ -n "$INSTALL_K3S_VERSION" ] || fatal "Channel $channel names no release"
    info "Using $INSTALL_K3S_VERSION as release"
}

# Sets BINARY, a file on this machine, and EXPECTED, its SHA-256 where one is known.
fetch() {
    EXPECTED=
    source=${INSTALL_K3S_ARTIFACT_URL#file://}
    if [ -z "$source" ]; then
        here=$(dirname "$0")
        for candidate in "$here/k3s$SUFFIX" "$here/k3s" "$here/bin/k3s"; do
            if [ -f "$candidate" ]; then
                BINARY=$candidate
                return 0
            fi
        done
        fatal "No k3s to install: put it beside this script, or set INSTALL_K3S_ARTIFACT_URL to a file, a directory or an https:// address"
    fi
    case "$source" in
        http://* | https://*)
            find_version
            [ -z "$INSTALL_K3S_VERSION" ] || source=$source/$(printf '%s' "$INSTALL_K3S_VERSION" | sed 's/+/%2B/g')
            info "Downloading hash $source/sha256sum-$ARCH.txt"
            download "$source/sha256sum-$ARCH.txt" "$TEMPORARY/hashes" || fatal 'Download failed'
            EXPECTED=$(sed -n "s/^\([0-9a-f]\{64\}\)[ *]*k3s$SUFFIX\$/\1/p" "$TEMPORARY/hashes")
            [ -n "$EXPECTED" ] || fatal "$source/sha256sum-$ARCH.txt has no line for k3s$SUFFIX"
            if [ "$(hash_of "$BIN_DIR/k3s")" = "$EXPECTED" ]; then
                info 'Skipping binary downloaded, installed k3s matches hash'
                BINARY=
                return 0
            fi
            BINARY=$TEMPORARY/k3s
            info "Downloading binary $source/k3s$SUFFIX"
            download "$source/k3s$SUFFIX" "$BINARY" || fatal 'Download failed'
            ;;
        *)
            BINARY=$source
            if [ -d "$source" ]; then
                BINARY=$source/k3s$SUFFIX
                if [ -f "$source/sha256sum-$ARCH.txt" ]; then
                    EXPECTED=$(sed -n "s/^\([0-9a-f]\{64\}\)[ *]*k3s$SUFFIX\$/\1/p" "$source/sha256sum-$ARCH.txt")
                fi
            fi
            [ -f "$BINARY" ] || fatal "INSTALL_K3S_ARTIFACT_URL: there is no file $BINARY"
            ;;
    esac
}

hash_of() {
    [ -f "$1" ] || return 0
    hash=$(sha256sum "$1")
    echo "${hash%% *}"
}

install_binary() {
    if [ "$INSTALL_K3S_SKIP_DOWNLOAD" = true ] || [ "$INSTALL_K3S_SKIP_DOWNLOAD" = binary ]; then
        info 'Skipping k3s download and verify'
        [ -x "$BIN_DIR/k3s" ] || fatal "Executable k3s binary not found at $BIN_DIR/k3s"
        return 0
    fi
    find_architecture
    TEMPORARY=$(mktemp -d "${TMPDIR:-/tmp}/k3s-install.XXXXXXXXXX")
    trap 'rm -rf "$TEMPORARY"' EXIT
    trap 'exit 130' INT TERM
    fetch
    [ -n "$BINARY" ] || return 0
    found=$(hash_of "$BINARY")
    if [ -n "$EXPECTED" ]; then
        info 'Verifying binary download'
        [ "$found" = "$EXPECTED" ] || fatal "Download sha256 does not match $EXPECTED, got $found"
    fi
    if [ "$(hash_of "$BIN_DIR/k3s")" = "$found" ]; then
        info 'Skipping binary, installed k3s is the same'
        return 0
    fi
    info "Installing k3s to $BIN_DIR/k3s"
    $SUDO mkdir -p "$BIN_DIR"
    # Renamed, not written over: the old one may be running.
    $SUDO cp "$BINARY" "$BIN_DIR/.k3s.new"
    $SUDO chown 0:0 "$BIN_DIR/.k3s.new"
    $SUDO chmod 755 "$BIN_DIR/.k3s.new"
    $SUDO mv -f "$BIN_DIR/.k3s.new" "$BIN_DIR/k3s"
}

create_symlinks() {
    [ "$INSTALL_K3S_BIN_DIR_READ_ONLY" != true ] || return 0
    [ "$INSTALL_K3S_SYMLINK" != skip ] || return 0
    for tool in kubectl crictl ctr; do
        link=$BIN_DIR/$tool
        if [ "$INSTALL_K3S_SYMLINK" != force ]; then
            if [ -e "$link" ] || [ -L "$link" ]; then
                info "Skipping $link symlink to k3s, already exists"
                continue
            fi
            other=$(command -v "$tool" 2>/dev/null || true)
            if [ -n "$other" ]; then
                info "Skipping $link symlink to k3s, command exists in PATH at $other"
                continue
            fi
        fi
        info "Creating $link symlink to k3s"
        $SUDO ln -sf k3s "$link"
    done
}

# --- scripts for the end ---

# write FILE MODE: what comes on standard input.
write() {
    $SUDO tee "$1.new" >/dev/null
    $SUDO chmod "$2" "$1.new"
    $SUDO chown 0:0 "$1.new"
    $SUDO mv -f "$1.new" "$1"
}

create_killall() {
    [ "$INSTALL_K3S_BIN_DIR_READ_ONLY" != true ] || return 0
    info "Creating killall script $KILLALL_K3S_SH"
    write "$KILLALL_K3S_SH" 755 <<'EOF'
#!/bin/sh
# Stops k3s, all pods, and takes their network away. Data, images and settings stay.
[ "$(id -u)" -eq 0 ] || exec sudo --preserve-env=K3S_DATA_DIR "$0" "$@"

K3S_DATA_DIR=${K3S_DATA_DIR:-/var/lib/rancher/k3s}

for unit in /etc/systemd/system/k3s*.service; do
    [ -s "$unit" ] && systemctl stop "$(basename "$unit")"
done
for script in /etc/init.d/k3s*; do
    [ -x "$script" ] && "$script" stop
done

# A process and all its descendants.
tree() {
    echo "$1"
    for directory in /proc/[0-9]*; do
        parent=$(sed -n 's/^PPid:[[:space:]]*//p' "$directory/status" 2>/dev/null)
        [ "$parent" != "$1" ] || tree "${directory#/proc/}"
    done
}

# The parents of all containers: "k3s shim --directory /run/k3s/...".
for directory in /proc/[0-9]*; do
    command=$(tr '\0' ' ' <"$directory/cmdline" 2>/dev/null) || continue
    case "$command" in
        *\ shim\ *" /run/k3s/"* | *\ shim\ *" $K3S_DATA_DIR/"*)
            # shellcheck disable=SC2046
            kill -9 $(tree "${directory#/proc/}") 2>/dev/null
            ;;
    esac
done

# What is mounted below a path, inner mounts first; the folders go too, but those of the data directory.
unmount() {
    sed 's/^[^ ]* \([^ ]*\) .*/\1/' /proc/self/mounts | sort -r | while read -r path; do
        case "$path" in "$1"*) ;; *) continue ;; esac
        path=$(printf '%b' "$path")
        umount -f "$path" 2>/dev/null || umount -l "$path"
        [ "$2" = keep ] || rm -rf "$path"
    done
}
unmount /run/k3s
unmount /var/lib/kubelet/pods
unmount /var/lib/kubelet/plugins
unmount /run/netns/cni-
unmount "$K3S_DATA_DIR/agent/" keep

if command -v ip >/dev/null 2>&1; then
    ip netns show 2>/dev/null | sed -n 's/^\(cni-[^ ]*\).*/\1/p' | while read -r name; do
        ip netns delete "$name"
    done
    # Not asked of ip: busybox's, which its shell prefers, knows no masters.
    for port in /sys/class/net/cni0/brif/*; do
        [ ! -e "$port" ] || ip link delete "$(basename "$port")"
    done
    for interface in cni0 flannel.1 flannel-v6.1 kube-ipvs0 flannel-wg flannel-wg-v6; do
        ip link delete "$interface" 2>/dev/null
    done
    # Routes to other nodes' pods have a number of their own.
    ip -4 route flush proto 107 2>/dev/null
    ip -6 route flush proto 107 2>/dev/null
fi
if command -v tailscale >/dev/null 2>&1; then
    tailscale set --advertise-routes=
fi

rm -rf /var/lib/cni/

if command -v nft >/dev/null 2>&1; then
    nft list tables 2>/dev/null | sed -n 's/^table \([a-z0-9]* k3s-[a-z]*\)$/\1/p' | while read -r family table; do
        nft delete table "$family" "$table"
    done
fi
# What the original has left behind.
for tool in iptables ip6tables; do
    if command -v $tool-save >/dev/null 2>&1 && command -v $tool-restore >/dev/null 2>&1; then
        rules=$($tool-save 2>/dev/null)
        if echo "$rules" | grep -Eqi 'KUBE-|CNI-|flannel'; then
            echo "$rules" | grep -v KUBE- | grep -v CNI- | grep -iv flannel | $tool-restore
        fi
    fi
done
exit 0
EOF
}

create_uninstall() {
    [ "$INSTALL_K3S_BIN_DIR_READ_ONLY" != true ] || return 0
    info "Creating uninstall script $UNINSTALL_K3S_SH"
    write "$UNINSTALL_K3S_SH" 755 <<EOF
#!/bin/sh
# Removes the service $NAME; with the last one also k3s, its data and its settings.
[ "\$(id -u)" -eq 0 ] || exec sudo --preserve-env=K3S_DATA_DIR "\$0" "\$@"

K3S_DATA_DIR=\${K3S_DATA_DIR:-/var/lib/rancher/k3s}

"$KILLALL_K3S_SH"

if command -v systemctl >/dev/null 2>&1; then
    systemctl disable $NAME
    systemctl reset-failed $NAME 2>/dev/null
    systemctl daemon-reload
fi
if command -v rc-update >/dev/null 2>&1; then
    rc-update delete $NAME default
fi
rm -f "$SERVICE_FILE" "$ENVIRONMENT_FILE" "/etc/logrotate.d/$NAME"
trap 'rm -f "$UNINSTALL_K3S_SH"' EXIT

for other in "$SYSTEMD_DIR"/k3s*.service /etc/init.d/k3s*; do
    if [ -e "\$other" ]; then
        echo 'Additional k3s services installed, skipping uninstall of k3s'
        exit 0
    fi
done

for tool in kubectl crictl ctr; do
    [ ! -L "$BIN_DIR/\$tool" ] || [ "\$(readlink "$BIN_DIR/\$tool")" != k3s ] || rm -f "$BIN_DIR/\$tool"
done

# What is mounted inside of a directory stays, the rest goes.
clean() {
    if ! grep -q " \$1[ /]" /proc/mounts; then
        rm -rf "\$1"
        return
    fi
    for path in "\$1"/* "\$1"/.[!.]*; do
        if [ -L "\$path" ] || [ ! -d "\$path" ]; then
            rm -f "\$path"
        elif ! grep -q " \$path " /proc/mounts; then
            clean "\$path"
        fi
    done
}
rm -rf "/etc/rancher/k3s" "/run/k3s" "/run/flannel"
clean "\$K3S_DATA_DIR"
clean "/var/lib/kubelet"
rm -f "$BIN_DIR/k3s" "$KILLALL_K3S_SH"
exit 0
EOF
}

# --- the service ---

create_environment_file() {
    info "env: Creating environment file $ENVIRONMENT_FILE"
    names=$(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p' |
        grep -Ei '^(K3S_|CONTAINERD_|KINE_|(NO|HTTP|HTTPS)_PROXY$)' | grep -Ev '^(k3s|containerd|kine)_' | sort)
    for name in $names; do
        eval "value=\$$name"
        # shellcheck disable=SC2154
        printf '%s="%s"\n' "$name" "$(escape_value "$value")"
    done | write "$ENVIRONMENT_FILE" 600
}

create_systemd_unit() {
    info "systemd: Creating service file $SERVICE_FILE"
    write "$SERVICE_FILE" 644 <<EOF
[Unit]
Description=Lightweight Kubernetes
Documentation=https://k3s.io
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type=${INSTALL_K3S_TYPE:-notify}
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-$ENVIRONMENT_FILE
# Pods go on while the service is stopped or upgraded.
KillMode=process
Delegate=yes
User=root
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart=$BIN_DIR/k3s $EXEC
EOF
    $SUDO restorecon -R -i "$SERVICE_FILE" "$ENVIRONMENT_FILE" 2>/dev/null || true
}

create_openrc_script() {
    log=/var/log/$NAME.log
    info "openrc: Creating service file $SERVICE_FILE"
    write "$SERVICE_FILE" 755 <<EOF
#!/sbin/openrc-run

depend() {
    after network-online
    want cgroups
}

supervisor=supervise-daemon
name=$NAME
command="$BIN_DIR/k3s"
command_args="$(escape_value "$EXEC")"
output_log=$log
error_log=$log
pidfile="/var/run/$NAME.pid"
respawn_delay=5
respawn_max=0

set -o allexport
if [ -f /etc/environment ]; then . /etc/environment; fi
if [ -f $ENVIRONMENT_FILE ]; then . $ENVIRONMENT_FILE; fi
set +o allexport
EOF
    write "/etc/logrotate.d/$NAME" 644 <<EOF
$log {
	missingok
	notifempty
	copytruncate
}
EOF
}

enable_and_start() {
    if ! grep -qs memory /sys/fs/cgroup/cgroup.controllers &&
        ! grep -qs '^memory[[:space:]].*[[:space:]]1$' /proc/cgroups; then
        info 'Failed to find memory cgroup, you may need to add "cgroup_memory=1 cgroup_enable=memory" to your linux cmdline (/boot/cmdline.txt on a Raspberry Pi)'
    fi
    [ "$INSTALL_K3S_SKIP_ENABLE" != true ] || return 0
    if [ "$HAS_SYSTEMD" = true ]; then
        info "systemd: Enabling $NAME unit"
        $SUDO systemctl enable "$SERVICE_FILE" >/dev/null
        $SUDO systemctl daemon-reload >/dev/null
    else
        info "openrc: Enabling $NAME service for default runlevel"
        $SUDO rc-update add "$NAME" default >/dev/null
    fi
    [ "$INSTALL_K3S_SKIP_START" != true ] || return 0
    if [ "$BEFORE" = "$(hashes)" ] && [ "$INSTALL_K3S_FORCE_RESTART" != true ]; then
        info 'No change detected so skipping service start'
        return 0
    fi
    if [ "$HAS_SYSTEMD" = true ]; then
        info "systemd: Starting $NAME"
        $SUDO systemctl restart "$NAME"
    else
        info "openrc: Starting $NAME"
        $SUDO "$SERVICE_FILE" restart
    fi
}

# Everything in one piece: a script that was cut off does nothing.
main() {
    find_supervisor
    read_settings "$@"
    install_binary
    [ ! -d "/usr/share/selinux" ] || info 'Skipping installation of SELinux RPM'
    create_symlinks
    create_killall
    create_uninstall
    create_environment_file
    if [ "$HAS_SYSTEMD" = true ]; then create_systemd_unit; else create_openrc_script; fi
    enable_and_start
}

# shellcheck disable=SC2046
eval set -- $(escape "$INSTALL_K3S_EXEC") $(quote "$@")
main "$@"
