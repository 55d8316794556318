// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// What a refusal means, whatever its text. Test with errors.Is; a *StatusError has the details.
var (
	// ErrBusy (423) means that an update command is running now. Asking again later helps.
	ErrBusy = errors.New("an update command is running")

	// ErrNotAllowed (409) means that the command does not fit the present update state.
	ErrNotAllowed = errors.New("not allowed in the present update state")

	// ErrNotFound (404) means that there is nothing to answer with: no status since boot, no chosen update,
	// nothing staged, or a path the server does not know.
	ErrNotFound = errors.New("not found")

	// ErrDisconnected means that nobody answered: the connection could not be made, or ended before the answer was
	// complete, or a daemon answered (503) that it is about to end. It may be starting again. Whether a command has begun is not known.
	ErrDisconnected = errors.New("the host's daemon did not answer")
)

// StatusError is an answer other than success.
type StatusError struct {
	Method string
	Path   string
	Code   int    // HTTP status
	Body   string // what the server said, plain text, at most a few KiB
}

func (e *StatusError) Error() string {
	text := strings.TrimSpace(e.Body)
	if text == "" {
		text = http.StatusText(e.Code)
	}
	return fmt.Sprintf("%s %s: status %d: %s", e.Method, e.Path, e.Code, text)
}

// Is maps the codes with a meaning of their own to the sentinels of this package.
func (e *StatusError) Is(target error) bool {
	switch target {
	case ErrBusy:
		return e.Code == http.StatusLocked
	case ErrNotAllowed:
		return e.Code == http.StatusConflict
	case ErrNotFound:
		return e.Code == http.StatusNotFound
	case ErrDisconnected:
		return e.Code == http.StatusServiceUnavailable
	}
	return false
}
