#!/bin/sh
# A stand-in for python:3.11-slim-bookworm on a machine that reaches Debian's packages but no image registry: Debian 12
# with Debian's own Python 3.11, 151 MB. For tests and clusters of one machine; what is released stands on BASE.
# Needs root, debootstrap and buildah. Does nothing where the image is there.
set -eu
tag=localhost/shipway/base:bookworm
buildah inspect --type image "$tag" >/dev/null 2>&1 && exit 0
command -v debootstrap >/dev/null || { echo "stand-in.sh: no debootstrap; apt-get install debootstrap" >&2; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
umask 022
debootstrap --variant=minbase --include=ca-certificates,netbase,python3,python3-venv,python3-pip \
    bookworm "$tmp/root" >"$tmp/log" 2>&1 || { tail -n 20 "$tmp/log" >&2; exit 1; }
cd "$tmp/root"
ln -s /usr/bin/python3 usr/local/bin/python # the official image's names
ln -s /usr/bin/pip3 usr/local/bin/pip
rm -f usr/lib/python3.11/EXTERNALLY-MANAGED
# What debootstrap copies from the host or stamps with the time has no place in an image.
rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/* usr/share/doc/* usr/share/man/* usr/share/locale/* \
    var/cache/ldconfig/aux-cache var/lib/dpkg/*-old
: >etc/resolv.conf
: >etc/machine-id
echo localhost >etc/hostname
cd /
container=$(buildah from scratch)
buildah add -q "$container" "$tmp/root" /
buildah config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin --env LANG=C.UTF-8 \
    --cmd '["python3"]' "$container"
buildah commit -q --rm "$container" "$tag"
