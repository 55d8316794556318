// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Command probe is all there is in the image of the tests. It writes what it finds in its container into its persistent
// folder and waits for SIGTERM, unless it is told otherwise. With arguments it is a command that runs beside it.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// dirs of both kinds of containers.
var dirs = []string{"/.bottlerocket/host-containers/current/", "/.bottlerocket/bootstrap-containers/current/"}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) > 0 {
		return command(args)
	}
	dir := dirs[0]
	if _, err := os.Stat(dir); err != nil {
		dir = dirs[1]
	}
	order, _ := os.ReadFile(dir + "user-data")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	_, marked := os.Stat("/marker")
	_ = os.WriteFile("/marker", nil, 0o600)
	starts, _ := os.ReadFile(dir + "starts")
	starts = append(starts, 'x')
	must(os.WriteFile(dir+"starts", starts, 0o600))
	report := map[string]any{"marked": marked == nil, "starts": len(starts), "env": os.Environ(), "order": string(order)}
	for name, file := range map[string]string{"status": "/proc/self/status", "release": "/etc/bottlerocket-release", "rootfs": "/.bottlerocket/rootfs/secret", "hosts": "/etc/hosts"} {
		data, err := os.ReadFile(file)
		if err != nil {
			data = []byte(err.Error())
		}
		report[name] = string(data)
	}
	for _, ns := range []string{"net", "pid", "mnt"} {
		report["ns-"+ns], _ = os.Readlink("/proc/self/ns/" + ns)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	must(err)
	found := map[string]string{}
	for line := range bytes.Lines(mounts) {
		f := strings.Fields(string(line))
		found[f[1]] = f[2] + " " + f[3]
	}
	report["mounts"] = found
	_, err = os.Stat("/dev/vda")
	_, kmsg := os.Stat("/dev/kmsg")
	report["devices"] = err == nil || kmsg == nil
	report["apiclient"] = exists("/usr/local/bin/apiclient")
	report["socket"] = exists("/run/api.sock")
	report["write-rootfs"] = os.WriteFile("/.bottlerocket/rootfs/new", nil, 0o600) == nil
	data, err := json.Marshal(report)
	must(err)
	must(os.WriteFile(dir+"report.tmp", data, 0o600))
	must(os.Rename(dir+"report.tmp", dir+"report.json"))
	fmt.Println("probe: out")
	fmt.Fprintln(os.Stderr, "probe: err")
	switch string(order) {
	case "exit 0":
		return 0
	case "fail":
		panic("as it was told") // exit code 2
	case "stubborn":
		select {}
	}
	<-stop
	must(os.WriteFile(dir+"stopped", nil, 0o600))
	return 0
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
