// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"errors"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Why something is not trusted or cannot be had. Test with errors.Is.
var (
	// ErrRollback means that the repository offers an older state than one seen before.
	ErrRollback = errors.New("older than what was seen before")

	// ErrExpired means that metadata is past its expiry: the repository is not maintained, somebody shows an old
	// state of it, or the clock of this machine is ahead.
	ErrExpired = errors.New("expired")

	// ErrClock means that the clock of this machine is so far behind that expiry cannot be judged.
	ErrClock = errors.New("the clock of this machine is wrong")

	// ErrSignature means that too few trusted keys have signed.
	ErrSignature = errors.New("not signed by enough trusted keys")

	// ErrDigest means that content differs from what was signed for. Target readers return a *DigestError.
	ErrDigest = errors.New("does not match its signed digest")

	// ErrMalformed means that metadata cannot be understood.
	ErrMalformed = errors.New("malformed metadata")

	// ErrAbsent means that the repository has no such file or target.
	ErrAbsent = errors.New("not in the repository")

	// ErrTooLarge means that a file is larger than the limit for its kind.
	ErrTooLarge = errors.New("larger than allowed")

	// ErrStalled means that the server stopped sending.
	ErrStalled = errors.New("the server sends nothing, or too slowly")
)

// DigestError says how a target differs from what was signed. It is an ErrDigest.
type DigestError struct {
	Name string // of the target
	Want string // "sha256 <hex>", or "N bytes" when the length differs
	Got  string
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("%s: target does not match its signed digest: want %s, got %s", e.Name, e.Want, e.Got)
}

// Is makes every DigestError an ErrDigest.
func (e *DigestError) Is(target error) bool { return target == ErrDigest }

// classify gives an error of go-tuf about one file of metadata a meaning that callers can test for. Version errors
// are roll-backs: that files belong together is checked before go-tuf sees them.
func classify(file string, err error) error {
	var (
		expired  *metadata.ErrExpiredMetadata
		unsigned *metadata.ErrUnsignedMetadata
		version  *metadata.ErrBadVersionNumber
		digest   *metadata.ErrLengthOrHashMismatch
	)
	switch {
	case errors.As(err, &expired):
		return fmt.Errorf("%s: %w", file, ErrExpired)
	case errors.As(err, &unsigned):
		return fmt.Errorf("%s: %w: %s", file, ErrSignature, unsigned.Msg)
	case errors.As(err, &version):
		return fmt.Errorf("%s: %w: %s", file, ErrRollback, version.Msg)
	case errors.As(err, &digest):
		return fmt.Errorf("%s: %w: %s", file, ErrDigest, digest.Msg)
	}
	return malformed(file, err)
}

// malformed names the file of metadata that failed a check before any key was asked.
func malformed(file string, err error) error {
	if errors.Is(err, ErrDigest) {
		return fmt.Errorf("%s: %w", file, err) // well-formed, but it does not belong to the rest
	}
	return fmt.Errorf("%s: %w: %w", file, ErrMalformed, err)
}
