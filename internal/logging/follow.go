// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package logging

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxFile bounds the file with directives.
const maxFile = 64 << 10

// Follow takes over the levels that the file of the settings names, now and whenever it changes, until ctx ends. While
// there is none, those of the environment hold. Where nothing is mounted it has nothing to do. Trouble with the file
// is logged and never more than that.
func (l *Log) Follow(ctx context.Context) {
	if l.cfg.file == "" {
		return
	}
	changes, err := watch(ctx, filepath.Dir(l.cfg.file)) // before the first look, so that nothing is missed
	l.read()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.logger.Warn("log levels cannot be changed while running", "file", l.cfg.file, "error", err)
		}
		return
	}
	for range changes {
		l.read()
	}
}

// read looks into the file.
func (l *Log) read() {
	directives, err := l.directives()
	if err != nil {
		l.logger.Warn("log levels not read", "file", l.cfg.file, "error", err)
		return
	}
	if l.use(directives) {
		l.logger.Info("log levels changed", "levels", l.String())
	}
}

func (l *Log) directives() (string, error) {
	f, err := os.Open(l.cfg.file)
	if errors.Is(err, fs.ErrNotExist) {
		return l.cfg.directives, nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return "", err
	}
	if text := strings.TrimSpace(string(data)); text != "" {
		return text, nil
	}
	return l.cfg.directives, nil
}
