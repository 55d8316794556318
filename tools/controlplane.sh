#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Drydock authors

# Puts the Kubernetes control plane of the lab into the directory given as the only argument: one binary, and a
# symlink to it for each program it can be (with kubectl, which envtest wants to see, but does not call here).
#
# Building it takes minutes, so the result is kept per user, outside the clone, under a key of everything
# that decides its bytes. Two clones, or a clean one, then build it once. Without a writable home
# directory the binary is kept in the given directory only.
set -euo pipefail

kubernetes=1.36.3 # the version in lab/controlplane/go.mod; linked in, because clients parse what a server reports
version=k8s.io/component-base/version
ldflags="-s -w -X $version.gitVersion=v$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=36"

dir=${1:?usage: controlplane.sh DIRECTORY}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
cd "$(dirname "$0")/../lab/controlplane"

say() { printf 'controlplane: %s\n' "$*" >&2; }
fail() {
	say "error: $1"
	[ -z "${2-}" ] || say "hint: $2"
	exit 1
}

grep -q "k8s.io/kubernetes v$kubernetes\$" go.mod ||
	fail "tools/controlplane.sh links Kubernetes $kubernetes, lab/controlplane/go.mod names another one" \
		"change the version in tools/controlplane.sh too"

key=$({
	go env GOVERSION GOOS GOARCH
	echo "$ldflags"
	cat go.mod go.sum main.go
} | sha256sum | cut -c1-20)

# link makes every name beside the binary and notes what it was built from.
link() {
	for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubectl; do
		ln -sfn controlplane "$dir/$name"
	done
	echo "$key" >"$dir/.key"
}

if [ -x "$dir/controlplane" ] && [ "$(cat "$dir/.key" 2>/dev/null)" = "$key" ]; then
	exit 0
fi

cache=${XDG_CACHE_HOME:-${HOME:-}/.cache}/drydock
if ! { mkdir -p "$cache" && [ -w "$cache" ]; } 2>/dev/null; then
	cache=
fi
kept=${cache:+$cache/controlplane-$key}

# place puts a copy of $1 at $2 at once or not at all: a hard link costs nothing, a copy works across file systems.
place() {
	ln -f "$1" "$2.$$" 2>/dev/null || cp "$1" "$2.$$"
	mv -f "$2.$$" "$2"
}

# take ends the script with the kept binary, if there is one.
take() {
	[ -n "$kept" ] && [ -x "$kept" ] || return 0
	touch -c "$kept"
	place "$kept" "$dir/controlplane"
	link
	say "taken from $kept"
	exit 0
}
take

# Two clones at once would both compile for twice the time: the second waits for what the first keeps.
if [ -n "$kept" ] && command -v flock >/dev/null; then
	exec 9>"$cache/controlplane.lock"
	if ! flock -n 9; then
		say "another clone is building it, waiting"
		flock 9
		take
	fi
fi

log=$dir/.build.log
new=$dir/.new.$$
trap 'rm -f "$new" "$dir"/controlplane.$$' EXIT
say "building etcd and Kubernetes v$kubernetes from Go modules: once per machine, about 5 minutes on 2 cores"

# progress copies lines to the log and shows how many there were of how many: on one line that is
# rewritten when a person watches, else in a plain line now and then.
progress() {
	local verb=$1 total=$2 every=$3 n=0 line
	while IFS= read -r line; do
		printf '%s\n' "$line" >>"$log"
		n=$((n + 1))
		if [ -t 2 ]; then
			printf '\rcontrolplane: %s %d%s ' "$verb" "$n" "$total" >&2
		elif [ $((n % every)) -eq 0 ]; then
			say "$verb $n$total, ${SECONDS}s"
		fi
	done
	if [ -t 2 ] && [ "$n" -gt 0 ]; then printf '\n' >&2; fi
}
explain() {
	# The names of compiled packages are of no use here; what remains is the compiler's or the downloader's word.
	grep -Ev '^[A-Za-z0-9_.~/-]+$|^go: downloading ' "$log" | tail -n 40 >&2 || true
	fail "$1" "${2-}"
}

: >"$log"
packages=$(go list -deps . 2> >(progress "fetched modules:" "" 50) | wc -l) ||
	explain "the modules of the control plane cannot be fetched" "is the Go module proxy reachable? See 'go env GOPROXY'"
CGO_ENABLED=0 go build -v -buildvcs=false -trimpath -gcflags=all=-dwarf=false -ldflags "$ldflags" -o "$new" . 2>&1 |
	progress "compiled packages:" " of up to $packages" 200 ||
	explain "the control plane does not build" "the complete output is in $log"

if [ -n "$kept" ] && place "$new" "$kept" 2>/dev/null; then
	# 125 MB each: the three used last are enough for a few branches.
	find "$cache" -maxdepth 1 -name 'controlplane-*' -printf '%T@ %p\n' | sort -rn | tail -n +4 | cut -d' ' -f2- |
		xargs -r -d '\n' rm -f
fi
mv -f "$new" "$dir/controlplane"
link
rm -f "$log"
say "built in ${SECONDS}s${kept:+, kept as $kept}"
