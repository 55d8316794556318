// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"context"
	"log/slog"
)

// libraryLog passes on what controller-runtime logs, with one correction: once the controller has been asked
// to stop, its errors are of interest for debugging only. Among them is that the Lease was lost, which is then
// how it was given back.
type libraryLog struct {
	slog.Handler
	stopping <-chan struct{}
}

// Handle lowers the level of what is no fault.
func (l libraryLog) Handle(ctx context.Context, rec slog.Record) error {
	select {
	case <-l.stopping:
		if rec.Level > slog.LevelDebug {
			rec.Level = slog.LevelDebug
		}
		if !l.Enabled(ctx, rec.Level) {
			return nil
		}
	default:
	}
	return l.Handler.Handle(ctx, rec)
}

// WithAttrs keeps the correction on a derived logger.
func (l libraryLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return libraryLog{l.Handler.WithAttrs(attrs), l.stopping}
}

// WithGroup keeps the correction on a derived logger.
func (l libraryLog) WithGroup(name string) slog.Handler {
	return libraryLog{l.Handler.WithGroup(name), l.stopping}
}
