// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// memory reads the resident memory of the operator's processes and the host daemons from /proc: the present one by
// the field VmRSS:, the highest that there ever was by VmHWM:.
func memory(field string) (RSSBytes, error) {
	var r RSSBytes
	entries, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		return r, fmt.Errorf("listing processes: %w", err)
	}
	for _, path := range entries {
		exe, rss := processOf(path, field)
		switch exe {
		case "agent":
			r.Agent = max(r.Agent, rss)
		case "apiserver":
			r.Apiserver = max(r.Apiserver, rss)
		case "controller":
			r.Controller = max(r.Controller, rss)
		case "hostd":
			r.Hostd = max(r.Hostd, rss)
		}
	}
	return r, nil
}

// processOf returns the name a process was called by and the bytes in a field of its status (see proc(5)). A
// process that is gone meanwhile has neither.
func processOf(statusPath, field string) (name string, rss int64) {
	cmdline, err := os.ReadFile(filepath.Join(filepath.Dir(statusPath), "cmdline"))
	if err != nil {
		return "", 0
	}
	arg0, _, _ := strings.Cut(string(cmdline), "\x00")
	status, err := os.ReadFile(statusPath)
	if err != nil {
		return "", 0
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, field); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			rss = kib << 10
		}
	}
	return filepath.Base(arg0), rss
}

// containerOutput collects what a node's containers print in one file for each container.
func (l *Lab) containerOutput(node string) func(pod, container string) io.Writer {
	return func(pod, container string) io.Writer {
		dir := filepath.Join(l.hostDir(node), "logs")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return io.Discard
		}
		return &logFile{path: filepath.Join(dir, pod+"_"+container+".log")}
	}
}

// logFile opens its file for each write: containers print little, and nobody tells when one is done.
type logFile struct {
	mu   sync.Mutex
	path string
}

func (f *logFile) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	n, err := out.Write(line)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return n, err
}

// linkOrCopy makes to a second name of from, or a copy where a link cannot be.
func linkOrCopy(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, bufio.NewReader(in)); err != nil {
		out.Close()
		return fmt.Errorf("copying %s: %w", from, err)
	}
	return out.Close()
}
