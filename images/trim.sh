#!/bin/sh
# Takes out of a base image what no image of ours needs at run time, before its files become our first layer.
# dpkg, apt and perl stay: horovod's image installs sshd, and scanners read dpkg's list.
set -eu
# Packages are installed into /opt/shipway from the build stage; a pip that nobody uses is a pip to be patched.
for folder in /usr/lib/python3/dist-packages /usr/local/lib/python3*/site-packages; do
    [ -d "$folder" ] || continue
    for name in pip setuptools pkg_resources wheel _distutils_hack; do
        rm -rf "$folder/$name" "$folder/$name"-*.dist-info "$folder/$name"-*.egg-info
    done
    rm -f "$folder/distutils-precedence.pth"
done
rm -rf /usr/share/python-wheels /usr/bin/pip* /usr/local/bin/pip* /usr/local/bin/wheel
for folder in /usr/lib/python3.11 /usr/local/lib/python3.11; do
    [ -d "$folder" ] || continue
    for name in ensurepip idlelib lib2to3 pydoc_data test tkinter turtledemo; do
        rm -rf "${folder:?}/$name"
    done
    # Our layers' files get one modification time, so bytecode must be bound to none (PEP 552, unchecked hash).
    find "$folder" -name __pycache__ -type d -prune -exec rm -rf {} +
    python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash "$folder"
done
# Character sets for iconv(1) that Debian 13 leaves to libc-gconv-modules-extra; Python has codecs of its own.
gconv=/usr/lib/x86_64-linux-gnu/gconv
if [ -d "$gconv" ]; then
    find "$gconv" -name '*.so' ! -name 'UTF-*' ! -name 'ISO8859-1.so' ! -name 'ISO8859-15.so' ! -name 'CP1252.so' \
        ! -name 'UNICODE.so' -delete
    rm -rf "$gconv"/gconv-modules.d/gconv-modules-extra.conf "$gconv"/gconv-modules.cache
fi
find /usr/share/doc -type f ! -name copyright -delete # licences travel with what they are of
rm -rf /usr/share/man/* /usr/share/info/* /usr/share/locale/* /usr/share/lintian \
    /usr/share/zoneinfo/right /usr/share/zoneinfo/posix /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/* /var/log/*
# Nobody becomes somebody else in here.
find / -xdev -type f -perm /6000 -exec chmod a-s {} +
