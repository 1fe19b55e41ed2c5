#!/bin/busybox sh
# The first process of an emulated board. The live image installs a card image; the installed image only runs.
# The kernel's command line gives board.role, board.url (where it reports), board.tftp and board.card.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1 </dev/null
for word in $(cat /proc/cmdline); do
    case $word in
    board.role=*) role=${word#*=} ;;
    board.url=*) url=${word#*=} ;;
    board.tftp=*) tftp=${word#*=} ;;
    board.card=*) card=${word#*=} ;;
    esac
done
echo "init: $role after $(cut -d' ' -f1 /proc/uptime) s"

for module in $(cat /modules/order); do insmod "/modules/$module"; done
ip link set lo up
ip link set eth0 up
udhcpc -q -n -t 20 -T 1 -i eth0 -s /lease

# The board goes on only when the server has taken its report.
report() {
    until wget -q -O - "$url/events/$1"; do sleep 1; done
    echo " <- $1"
}

install() {
    report live-running
    wget -q -O - "$url/boot-config" && echo
    report image-installing
    tftp -g -b 1432 -r "$card" -l /card.img "${tftp%:*}" "${tftp#*:}" || return
    dd if=/card.img of=/dev/vda bs=1M conv=fsync || return
    report image-installed
}

case $role in
live)
    install || report 'image-failed?fault=other&reason=not+installed'
    reboot -f
    ;;
card) report image-running ;;
esac
while :; do sleep 3600; done
