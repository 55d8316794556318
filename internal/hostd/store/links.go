// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/Masterminds/semver/v3"
)

// The names that the layout fixes.
const (
	currentLink = "current"
	liveDir     = "live"
	pendingDir  = "pending"
)

// maxLinks bounds the chain from current to the directory; it has four.
const maxLinks = 8

var dataDir = regexp.MustCompile(`^(v[0-9][^/_]*)_[A-Za-z0-9]{16}$`)

// place is where a store's data is.
type place struct {
	base string // has the links
	link string // name of the innermost link, v1.26.1
	name string // what it points to
}

func (p place) dir() string { return filepath.Join(p.base, p.name) }

// find follows the links below base. It returns fs.ErrNotExist when there is no store, and ErrCorrupt when the links
// lead nowhere.
func find(base string) (place, error) {
	p := place{base: base, name: currentLink}
	for range maxLinks {
		target, err := os.Readlink(filepath.Join(base, p.name))
		switch {
		case errors.Is(err, fs.ErrNotExist) && p.name == currentLink:
			return p, err
		case errors.Is(err, fs.ErrNotExist):
			return p, fmt.Errorf("%w: link %s points to %s, which does not exist", ErrCorrupt, p.link, p.name)
		case err != nil: // not a link
			info, err := os.Lstat(p.dir())
			if err != nil {
				return p, err
			}
			// The original lets a version without migrations use the data of the version before.
			if !info.IsDir() || p.link == "" || !dataDir.MatchString(p.name) {
				return p, fmt.Errorf("%w: %s is not the directory of a version", ErrCorrupt, p.name)
			}
			return p, nil
		case target != filepath.Base(target):
			return p, fmt.Errorf("%w: link %s points out of the store", ErrCorrupt, p.name)
		}
		p.link, p.name = p.name, target
	}
	return p, fmt.Errorf("%w: the links go round in circles", ErrCorrupt)
}

// newName returns a name for a data directory of the version that link names.
func newName(link string) string { return link + "_" + randomName() }

const nameLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// randomName returns 16 random letters and digits. They only have to differ, so the bias of the remainder is no harm.
func randomName() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // documented never to fail
	for i := range b {
		b[i] = nameLetters[int(b[i])%len(nameLetters)]
	}
	return string(b[:])
}

// point makes link point to target, whatever it was before. It is not durable yet.
func point(f FS, base, link, target string) error {
	temporary := filepath.Join(base, temporaryPrefix+randomName())
	if err := f.Symlink(target, temporary); err != nil {
		return err
	}
	if err := f.Rename(temporary, filepath.Join(base, link)); err != nil {
		return errors.Join(err, f.RemoveAll(temporary))
	}
	return nil
}

// temporaryPrefix starts the names of files and links that nobody should find. No key and no transaction has one.
const temporaryPrefix = ".new."

// chain returns the links for a version, from the innermost to the outermost.
func chain(v *semver.Version) []string {
	return []string{
		"v" + v.String(), fmt.Sprintf("v%d.%d", v.Major(), v.Minor()), fmt.Sprintf("v%d", v.Major()), currentLink,
	}
}
