// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// maxLog bounds what is kept of one run of a container, in bytes.
const maxLog = 16 << 20

// runLog keeps what one run of a container prints: lines, each behind its time. It is written by one goroutine and read
// by any number.
type runLog struct {
	path string

	mu    sync.Mutex
	file  *os.File
	size  int64         // bytes of whole lines
	more  chan struct{} // closed at the next line, and at the end
	ended bool
}

// createLog begins the log of a run anew.
func createLog(path string) (*runLog, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("creating log: %w", err)
	}
	return &runLog{path: path, file: f, more: make(chan struct{})}, nil
}

// keptLog is the log of a run that is over.
func keptLog(path string) (*runLog, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	return &runLog{path: path, size: info.Size(), ended: true}, nil
}

// Write takes whole lines. It never fails: a container must not notice that its log is full.
func (l *runLog) Write(lines []byte) (int, error) {
	stamp := time.Now().UTC().AppendFormat(nil, time.RFC3339Nano)
	var out []byte
	for line := range bytes.Lines(lines) {
		out = append(append(append(out, stamp...), ' '), line...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.size+int64(len(out)) > maxLog {
		return len(lines), nil
	}
	n, err := l.file.Write(out)
	if err != nil {
		n = 0
	}
	l.size += int64(n)
	close(l.more)
	l.more = make(chan struct{})
	return len(lines), nil
}

// end closes the log: nothing follows.
func (l *runLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	_ = l.file.Close()
	close(l.more)
}

func (l *runLog) now() (size int64, more <-chan struct{}, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size, l.more, l.ended
}

// logOptions are what a reader asks for.
type logOptions struct {
	follow, previous, timestamps bool
	since                        time.Time
	tail                         int   // lines; below zero for all
	limit                        int64 // bytes; below zero for all
}

// copyTo writes the lines that are asked for, and with follow those to come, until the end or until ctx ends. After each
// batch it calls flush.
func (l *runLog) copyTo(ctx context.Context, w io.Writer, flush func(), o logOptions) error {
	f, err := os.Open(l.path)
	if err != nil {
		return fmt.Errorf("opening log: %w", err)
	}
	defer f.Close()
	for offset := int64(0); ; {
		size, more, ended := l.now()
		lines, err := o.read(io.NewSectionReader(f, offset, size-offset))
		if err != nil {
			return err
		}
		if offset == 0 && o.tail >= 0 {
			lines = lines[max(0, len(lines)-o.tail):]
		}
		offset = size
		for _, line := range lines {
			if !o.timestamps {
				line = line[bytes.IndexByte(line, ' ')+1:]
			}
			if o.limit >= 0 {
				line = line[:min(int64(len(line)), o.limit)]
				o.limit -= int64(len(line))
			}
			if _, err := w.Write(line); err != nil {
				return nil // the reader is gone
			}
		}
		flush()
		if ended || !o.follow || o.limit == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-more:
		}
	}
}

// read returns the lines that are not too old.
func (o *logOptions) read(r io.Reader) ([][]byte, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading log: %w", err)
	}
	lines := slices.Collect(bytes.Lines(data))
	return slices.DeleteFunc(lines, func(line []byte) bool {
		at, err := time.Parse(time.RFC3339Nano, string(line[:max(0, bytes.IndexByte(line, ' '))]))
		return err == nil && at.Before(o.since)
	}), nil
}

// logPath is where the log of a run is kept; the last two are.
func (c *container) logPath(run int32) string {
	return filepath.Join(c.w.dir(), "containers", c.spec.Name, strconv.Itoa(int(run))+".log")
}

// beginLog begins the log of the run that is about to start.
func (c *container) beginLog() (*runLog, error) {
	c.w.mu.Lock()
	run := c.restarts
	c.w.mu.Unlock()
	log, err := createLog(c.logPath(run))
	if err != nil {
		return nil, err
	}
	_ = os.Remove(c.logPath(run - 2)) // there is none most of the time
	c.w.mu.Lock()
	c.log = log
	c.w.mu.Unlock()
	return log, nil
}

// logOf is the log of the present run, or of the one before; nil if there was none.
func (c *container) logOf(previous bool) (*runLog, error) {
	c.w.mu.Lock()
	log, run := c.log, c.restarts
	c.w.mu.Unlock()
	if !previous {
		return log, nil
	}
	kept, err := keptLog(c.logPath(run - 1))
	if os.IsNotExist(err) {
		return nil, nil
	}
	return kept, err
}
